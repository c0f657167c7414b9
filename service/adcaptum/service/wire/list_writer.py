"""Numbers in memory -> nested lists that people can read.

Lists of finite numbers are serialised by NumPy and read at once: a call for each number would take
a microsecond each.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.struct_pb2 import ListValue
from numpy.typing import NDArray

from adcaptum.service.wire.field_writer import varint

ELEMENT: Final = 0x0A
"""The tag of an element of a list, `ListValue.values`."""

LIST: Final = 0x32
"""The tag of a list, `Value.list_value`."""

NUMBER: Final = bytes([ELEMENT, 9, 0x11])
"""The bytes before the double of a number in a list, `Value.number_value`."""

DIGITS: Final = {np.dtype(np.float32): (6, 7, 8, 9), np.dtype(np.float16): (3, 4, 5)}
"""The numbers of decimal digits to try for numbers of a type: the first may, the last must tell all
of its numbers apart."""

EXACT_POWER: Final = 22
"""The largest power of ten that is a double."""


def write(into: ListValue, array: NDArray[Any]) -> None:
    """Writes numbers or booleans as lists in lists, a number without dimensions as a list of one.

    Args:
        into: An empty list.
        array: The numbers.
    """
    if array.dtype in DIGITS:
        array = shortest(array)
    listed = array if array.ndim else array.reshape(1)
    if listed.size and listed.dtype == np.float64 and np.isfinite(listed).all():
        into.MergeFromString(serialised(listed))
    else:
        _fill(into, listed.tolist())


def shortest(array: NDArray[np.floating]) -> NDArray[np.float64]:
    """Converts numbers to the doubles of their shortest decimals: 0.1, not 0.10000000149011612."""
    wide = array.astype(np.float64)
    found = wide.copy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.floor(np.log10(np.abs(wide)))
        left = np.isfinite(exponent)
        exponent = np.where(left, exponent, 0)
        for digits in DIGITS[array.dtype]:
            power = digits - 1 - exponent
            usable = left & (np.abs(power) <= EXACT_POWER)
            up = 10.0 ** np.clip(power, 0, EXACT_POWER)
            down = 10.0 ** np.clip(-power, 0, EXACT_POWER)
            # One of the two is 1, and a whole number over a power of ten is the nearest double.
            rounded = np.rint(wide * up / down) * down / up
            same = usable & (rounded.astype(array.dtype) == array)
            found = np.where(same, rounded, found)
            left &= ~same
    return found


def serialised(array: NDArray[np.float64]) -> bytes:
    """Serialises finite numbers as a `ListValue`; each step wraps the lists of one dimension."""
    cells = np.empty((array.size, len(NUMBER) + 8), np.uint8)
    cells[:, : len(NUMBER)] = np.frombuffer(NUMBER, np.uint8)
    numbers = np.ascontiguousarray(array, "<f8").reshape(-1, 1)
    cells[:, len(NUMBER) :] = numbers.view(np.uint8)
    lists = cells.reshape(-1, array.shape[-1] * cells.shape[1])
    for length in reversed(array.shape[:-1]):
        inner = bytes([LIST]) + varint(lists.shape[1])
        head = bytes([ELEMENT]) + varint(len(inner) + lists.shape[1]) + inner
        heads = np.broadcast_to(np.frombuffer(head, np.uint8), (len(lists), len(head)))
        wrapped = np.concatenate([heads, lists], 1)
        lists = wrapped.reshape(-1, length * wrapped.shape[1])
    return lists.tobytes()


def _fill(into: ListValue, items: Sequence[Any]) -> None:
    # An empty list is one, too.
    into.SetInParent()
    for item in items:
        value = into.values.add()
        if isinstance(item, list):
            _fill(value.list_value, item)
        elif isinstance(item, bool):
            value.bool_value = item
        elif math.isfinite(item):
            value.number_value = item
        else:
            value.string_value = _word(item)


def _word(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
