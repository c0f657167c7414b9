"""The outline of a request: its question and the size of its inputs, read without decoding."""

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from adcaptum.v1 import explanation_service_pb2 as pb

INPUTS: Final = pb.ExplainRequest.INPUTS_FIELD_NUMBER
"""The number of the field with the inputs, in requests for predictions, too."""

CACHE: Final = pb.ExplainRequest.CACHE_FIELD_NUMBER
BYPASS: Final = pb.CACHE_POLICY_BYPASS

VARINT: Final = 0
LENGTH: Final = 2
FIXED: Final = {1: 8, 5: 4}
"""The lengths of the other wire types' values."""

MOST_FIELDS: Final = 256
"""The most fields that are looked at."""


class Outline(NamedTuple):
    """The parts of a request that decide its cost.

    Attributes:
        question: Equal for requests that differ in their inputs only.
        nbytes: The size of the inputs.
        bypasses: Whether it may have no other request's answer.
    """

    question: int
    nbytes: int
    bypasses: bool


def outline(body: bytes) -> Outline:
    """Returns the outline of a request for a prediction or an explanation."""
    question, nbytes, bypasses = 0, 0, False
    view = memoryview(body)
    for number, start, stop, value in _fields(body):
        if number == INPUTS:
            nbytes += stop - start
        else:
            question = zlib.crc32(view[start:stop], zlib.crc32(bytes((number & 255,)), question))
            bypasses |= number == CACHE and value == BYPASS
    return Outline(question, nbytes, bypasses)


def _fields(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yields number, begin, end and whole number of each field, as far as they can be read."""
    at = 0
    for _ in range(MOST_FIELDS):
        if at >= len(raw):
            return
        tag, at = _varint(raw, at)
        kind, start, value = tag & 7, at, 0
        if kind == VARINT:
            value, at = _varint(raw, at)
        elif kind == LENGTH:
            length, start = _varint(raw, at)
            at = start + length
        elif kind in FIXED:
            at += FIXED[kind]
        else:
            return
        if at > len(raw):
            return
        yield tag >> 3, start, at, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Returns a whole number and the place after it; of one cut short the end of all."""
    value = shift = 0
    while at < len(raw) and shift < 70:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return value, len(raw) + 1
