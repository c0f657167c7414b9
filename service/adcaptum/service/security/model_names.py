"""The name of a request's model, read before the request is decoded, as decoding would read it.

A field of a message may come twice: of texts the last one counts, and messages are merged. Whoever
looked at the first bytes only could be shown one name, and decode another.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from adcaptum.service.errors import InvalidRequest, Reason

MOST_FIELDS: Final = 2048
"""The most fields of a message that are looked at, as many as of one that is decoded."""

SKIPPED: Final = {1: 8, 5: 4}
"""The lengths of values that have a fixed one, by wire type."""


def model_name(raw: bytes, path: Sequence[int]) -> str:
    """Returns the name of the model that a serialised request names; empty if it names none.

    Args:
        raw: The request.
        path: The numbers of the fields that lead to the name.

    Raises:
        InvalidRequest: The bytes are no message, or have too many fields.
    """
    for number in path[:-1]:
        raw = b"".join([raw[start:stop] for start, stop in _contents(raw, number)])
    name = b""
    for start, stop in _contents(raw, path[-1]):
        name = raw[start:stop]
    return name.decode(errors="replace")


def _contents(raw: bytes, number: int) -> Iterator[tuple[int, int]]:
    """Yields the places of the contents of a field."""
    at, end = 0, len(raw)
    for _ in range(MOST_FIELDS):
        if at >= end:
            return
        tag, at = _varint(raw, at)
        kind = tag & 7
        if kind == 2:
            length, start = _varint(raw, at)
            at = start + length
            if tag >> 3 == number and at <= end:
                yield start, at
        elif kind == 0:
            _, at = _varint(raw, at)
        else:
            at += SKIPPED.get(kind, end + 1)
        if at > end or not tag >> 3:
            raise _unreadable()
    if at < end:
        raise InvalidRequest(
            "request", f"of more than {MOST_FIELDS} fields", reason=Reason.REQUEST_TOO_LARGE
        )


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _unreadable()


def _unreadable() -> InvalidRequest:
    return InvalidRequest(
        "request",
        "its bytes are not a message of this method's type",
        reason=Reason.REQUEST_UNREADABLE,
    )
