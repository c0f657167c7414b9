"""Entries: requests, cancellations, answers and errors as bytes, one after another on a socket.

A frame is whatever entries the event loop sends in one pass; nothing marks where it begins or ends,
so no entry waits for another one. An entry: its kind, the number of its call on this connection,
the lengths of its head and of its body, head, body. Both ends are processes of one server and one
version.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Final

from adcaptum.service.rpc.calls import CALLER_KEY, ID_KEY, ROWS_KEY

REQUEST: Final = 0
"""Head: the method, the deadline, and the metadata; body: the message."""

CANCEL: Final = 1
"""Neither head nor body: nobody waits for the answer any more."""

ANSWER: Final = 2
"""Head: the trailing metadata; body: the message."""

ERROR: Final = 3
"""Head: the status code and its text; body: the status details."""

METHODS: Final = ("Predict", "Explain")
"""The methods whose requests go in frames; the number of each is its place."""

MOST_BYTES: Final = 1 << 20
"""The largest request that goes in frames; larger ones would hold up those behind them."""

KEYS: Final = (ID_KEY, CALLER_KEY, ROWS_KEY, "traceparent", "tracestate")
"""The metadata that goes with requests; the number of each key is its place."""

ENTRY: Final = struct.Struct("<BQII")
QUESTION: Final = struct.Struct("<Bd")
PAIR: Final = struct.Struct("<BH")
CODE: Final = struct.Struct("<H")

Metadata = Sequence[tuple[str, str]]
Taken = Callable[[int, int, bytes, bytes], None]
"""Takes an entry: kind, number, head, body."""


def request(
    number: int, method: str, deadline: float | None, metadata: Metadata, body: bytes
) -> tuple[bytes, bytes]:
    """Returns the bytes of a request, without a copy of its body.

    Args:
        number: The number of the call.
        method: One of `METHODS`.
        deadline: When its answer is due, on the machine's monotonic clock; None for never.
        metadata: Keys of `KEYS` with values of at most 64 KiB.
        body: The message.
    """
    parts = [QUESTION.pack(METHODS.index(method), inf if deadline is None else deadline)]
    for key, value in metadata:
        text = value.encode()
        parts += (PAIR.pack(KEYS.index(key), len(text)), text)
    head = b"".join(parts)
    return ENTRY.pack(REQUEST, number, len(head), len(body)) + head, body


def question(head: bytes) -> tuple[str, float | None, list[tuple[str, str]]]:
    """Returns the method, the deadline and the metadata of a request."""
    method, deadline = QUESTION.unpack_from(head)
    at, metadata = QUESTION.size, []
    while at < len(head):
        key, length = PAIR.unpack_from(head, at)
        at += PAIR.size
        metadata.append((KEYS[key], head[at : at + length].decode()))
        at += length
    return METHODS[method], None if deadline == inf else deadline, metadata


def cancellation(number: int) -> bytes:
    """Returns the bytes that end a call."""
    return ENTRY.pack(CANCEL, number, 0, 0)


def answer(number: int, trailing: Metadata, body: bytes) -> tuple[bytes, bytes]:
    """Returns the bytes of an answer, without a copy of its body.

    Args:
        number: The number of the call.
        trailing: What the worker tells beside it, in lines.
        body: The message.
    """
    head = "\n".join([word for pair in trailing for word in pair]).encode()
    return ENTRY.pack(ANSWER, number, len(head), len(body)) + head, body


def trailing(head: bytes) -> dict[str, str]:
    """Returns what a worker tells beside an answer."""
    words = head.decode().split("\n") if head else []
    return dict(zip(words[::2], words[1::2], strict=True))


def error(number: int, code: int, message: str, details: bytes) -> bytes:
    """Returns the bytes of an error.

    Args:
        number: The number of the call.
        code: The status code.
        message: Its text.
        details: A serialised `google.rpc.Status`; empty for none.
    """
    head = CODE.pack(code) + message.encode()
    return ENTRY.pack(ERROR, number, len(head), len(details)) + head + details


def status(head: bytes) -> tuple[int, str]:
    """Returns the status code of an error and its text."""
    return CODE.unpack_from(head)[0], head[CODE.size :].decode(errors="replace")


class EntryReader:
    """Cuts what a socket receives into entries."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        # Of one entry, whose size its sender has bounded.
        self._rest = bytearray()

    def read(self, data: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
        """Yields the entries that are complete: kind, number, head, body.

        Args:
            data: What has come.
        """
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        at, whole = 0, len(source)
        with memoryview(source) as view:
            while whole - at >= ENTRY.size:
                kind, number, head, body = ENTRY.unpack_from(view, at)
                begin = at + ENTRY.size
                end = begin + head + body
                if end > whole:
                    break
                yield (
                    kind,
                    number,
                    bytes(view[begin : begin + head]),
                    bytes(view[begin + head : end]),
                )
                at = end
        if source is self._rest:
            del self._rest[:at]
        elif at < whole:
            self._rest += data[at:]
