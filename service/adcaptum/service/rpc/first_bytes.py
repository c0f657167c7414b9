"""The first bytes of a request: its model, and what equal requests have in common.

Field 1 of each request for a model is its ModelRef, and field 1 of a streamed one is the request:
so a front finds the model without decoding tensors. What cannot be read so is read as no name; the
worker answers it with its error.
"""

from typing import Final

MOST_NAME: Final = 128
"""The longest name of a model, in bytes."""

FIELD_1: Final = 0x0A
"""The tag of field 1 with a length."""


def model_name(raw: bytes, *, streamed: bool = False) -> str:
    """Returns the name of the model that a request names; empty if there is none.

    Args:
        raw: The serialised request.
        streamed: Whether it wraps the request in field 1.
    """
    start, stop = (0, len(raw)) if not streamed else _inside(raw, 0, len(raw))
    start, stop = _inside(raw, start, stop)
    start, stop = _inside(raw, start, stop)
    if stop - start > MOST_NAME:
        return ""
    return raw[start:stop].decode(errors="replace")


def body(raw: bytes, *, streamed: bool = False) -> bytes:
    """Returns the request without its wrapper, if it has one."""
    if not streamed:
        return raw
    start, stop = _inside(raw, 0, len(raw))
    return raw[start:stop] if stop == len(raw) else raw


def _inside(raw: bytes, start: int, stop: int) -> tuple[int, int]:
    """Returns the place of the content of field 1, if it comes first; else an empty place."""
    if stop - start < 2 or raw[start] != FIELD_1:
        return stop, stop
    length = shift = 0
    for at in range(start + 1, min(stop, start + 6)):
        length |= (raw[at] & 127) << shift
        shift += 7
        if raw[at] < 128:
            begin = at + 1
            return (begin, begin + length) if begin + length <= stop else (stop, stop)
    return stop, stop
