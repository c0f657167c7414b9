"""Journals: what a worker process runs at the moment, in a file that outlives it.

The worker maps the file into memory, and writes into it at the beginning and the end of each batch;
the kernel keeps what is written, however the process ends. Its supervisor reads who ran when a
worker died, and for how long a batch has run.

The file is a row of slots, one for each thing under way. A slot: when it began, on the machine's
monotonic clock (0: the slot is free); the expected seconds; the length of a text, and the text:
kind, model and ids of requests, in lines.
"""

import mmap
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

SLOTS: Final = 64
SLOT_BYTES: Final = 4096
HEAD: Final = struct.Struct("<ddI")
MOST_TEXT: Final = SLOT_BYTES - HEAD.size

BATCH: Final = "batch"
LOADING: Final = "loading"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something under way.

    Attributes:
        kind: `batch` or `loading`.
        model: The model whose code runs.
        requests: The ids of the requests whose rows it has.
        begin: When it began, on the monotonic clock.
        expected_seconds: The seconds that it is expected to take; 0: unknown.
    """

    kind: str
    model: str
    requests: tuple[str, ...]
    begin: float
    expected_seconds: float


class Journal:
    """The writer of a journal; any thread may use it."""

    def __init__(self, path: Path) -> None:
        """Creates the file."""
        path.write_bytes(bytes(SLOTS * SLOT_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * SLOT_BYTES)
        self._lock = threading.Lock()
        self._free = [*range(SLOTS)]

    def begin(
        self, kind: str, model: str, requests: Sequence[str] = (), expected_seconds: float = 0.0
    ) -> int | None:
        """Notes that something begins.

        Returns:
            Its slot, for `end`; None if all are taken, and it is not noted.
        """
        text = "\n".join((kind, model, *requests)).encode()
        if len(text) > MOST_TEXT:
            # Callers choose ids, and a part of one may be another one.
            text = text[: text.rindex(b"\n", 0, MOST_TEXT + 1)]
        with self._lock:
            if not self._free:
                return None
            slot = self._free.pop()
        at = slot * SLOT_BYTES
        self._map[at + HEAD.size : at + HEAD.size + len(text)] = text
        HEAD.pack_into(self._map, at, monotonic(), expected_seconds, len(text))
        return slot

    def end(self, slot: int | None) -> None:
        """Notes that what has this slot has ended."""
        if slot is None:
            return
        HEAD.pack_into(self._map, slot * SLOT_BYTES, 0.0, 0.0, 0)
        with self._lock:
            self._free.append(slot)


def read(path: Path) -> list[Entry]:
    """Returns what is under way according to a journal; nothing if there is no such file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for at in range(0, len(raw) - SLOT_BYTES + 1, SLOT_BYTES):
        begin, expected, length = HEAD.unpack_from(raw, at)
        if not begin:
            continue
        text = raw[at + HEAD.size : at + HEAD.size + length].decode(errors="replace")
        kind, _, rest = text.partition("\n")
        model, *requests = rest.split("\n")
        found.append(Entry(kind, model, tuple(requests), begin, expected))
    return found
