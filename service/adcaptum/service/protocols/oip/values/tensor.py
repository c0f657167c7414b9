"""Tensors of the protocol, as bytes."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

Data: TypeAlias = "bytes | memoryview"

LENGTH: Final = struct.Struct("<I")
"""The length before each element of BYTES."""


@dataclass(frozen=True, slots=True)
class OipTensor:
    """A tensor.

    Attributes:
        name: The name of the input or output.
        datatype: The type of its elements.
        shape: The length of each dimension.
        data: Its elements in row-major order, little-endian; of BYTES each after its length.
        place: The field of the request that has them, for errors.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data
    place: str = ""


def bytes_data(items: Iterable[bytes]) -> bytes:
    """Returns the data of a tensor of BYTES with these elements."""
    parts: list[bytes] = []
    for item in items:
        parts += (LENGTH.pack(len(item)), item)
    return b"".join(parts)
