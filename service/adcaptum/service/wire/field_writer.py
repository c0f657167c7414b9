"""Fields of messages -> bytes, for messages that are written too often to be made of objects.

Serialised messages concatenate: the fields of a message may be written apart, and in any order.
"""

import struct
from functools import lru_cache
from typing import Final

FIXED64: Final = 1
"""The wire type of doubles."""

DELIMITED: Final = 2
"""The wire type of messages, texts and bytes, which begin with their length."""

_DOUBLE: Final = struct.Struct("<Bd")


MOST_KEPT: Final = 4096
"""The most numbers, and the most begins of fields, that are kept serialised: some bytes each."""


@lru_cache(maxsize=MOST_KEPT)
def varint(number: int) -> bytes:
    """Returns a whole number that is not negative."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@lru_cache(maxsize=MOST_KEPT)
def begin(field: int, length: int) -> bytes:
    """Returns the begin of a field of a message, a text or bytes.

    Args:
        field: The number of the field, up to 15.
        length: The bytes that follow.
    """
    return bytes([field << 3 | DELIMITED]) + varint(length)


def double(field: int, value: float) -> bytes:
    """Returns a field of a double, whose number is at most 15."""
    return _DOUBLE.pack(field << 3 | FIXED64, value)
