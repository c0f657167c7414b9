"""Lists in lists of JSON <-> `ListValue`, the `values` of tensors.

Regular lists of numbers go through NumPy, as their bytes; all others are walked.
"""

import math
from itertools import chain
from typing import Any, Final

import numpy as np
from google.protobuf.struct_pb2 import ListValue
from numpy.typing import NDArray

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols.protojson.elements import check_text, shown
from adcaptum.service.wire import list_writer, typed_values

MOST_NESTED: Final = typed_values.MOST_NESTED
"""The most lists inside one another."""

MOST_WALKED: Final = 1 << 17
"""The most elements of lists that are walked: the most of all `values` of a request."""


DTYPES: Final = {
    "FP32": "<f4",
    "FP64": "<f8",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT8": "u1",
    "BOOL": "?",
}
"""The datatypes that NumPy has."""


class TooManyError(ValueError):
    """There are more numbers than are taken."""


def numbers_of(content: object, most: int) -> NDArray[np.float64] | None:
    """Returns the numbers of lists of one form; None if they are no such lists.

    Args:
        content: What JSON has.
        most: The most numbers.

    Raises:
        TooManyError: There are more.
    """
    if not isinstance(content, list):
        return None
    shape = list[int]()
    level: list[Any] = [content]
    while level and type(level[0]) is list:
        if len(shape) == MOST_NESTED or set(map(type, level)) != {list}:
            return None
        lengths = set(map(len, level))
        if len(lengths) != 1 or 0 in lengths:
            return None
        shape += lengths
        if math.prod(shape) > most:
            raise TooManyError
        level = list(chain.from_iterable(level))
    if not level or not set(map(type, level)) <= {int, float}:
        return None
    try:
        return np.array(level, np.float64).reshape(shape)
    except OverflowError:
        return None


def write(into: ListValue, content: object, field: str) -> int:
    """Writes lists of JSON into a message.

    Args:
        into: An empty message.
        content: What JSON has.
        field: Its path in the request.

    Returns:
        The number of elements.

    Raises:
        InvalidRequest: It is no list, or has elements that no tensor has.
    """
    if not isinstance(content, list):
        raise InvalidRequest(field, f"{shown(content)}; must be a list")
    try:
        numbers = numbers_of(content, typed_values.MOST_NUMBERS)
    except TooManyError as error:
        raise _too_many(field) from error
    if numbers is None:
        return _Walk().write(into, content, field, 1)
    into.MergeFromString(list_writer.serialised(numbers))
    return numbers.size


def read(values: ListValue) -> NDArray[np.float64] | None:
    """Returns the numbers of a message with regular lists of numbers; None for all others."""
    try:
        found = typed_values.read(values, "")
    except InvalidRequest:
        return None
    return found.numbers.reshape(found.shape) if len(found.numbers) else None


def as_data(numbers: NDArray[np.float64], datatype: str, field: str) -> bytes:
    """Returns numbers as the `data` of a tensor.

    Args:
        numbers: The numbers.
        datatype: Their datatype, one of `DTYPES`.
        field: Their path in the request.

    Raises:
        InvalidRequest: A number is none of the datatype.
    """
    dtype = np.dtype(DTYPES[datatype])
    flat = numbers.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "f":
            found = flat.astype(dtype)
            wrong = ~np.isfinite(found)
        elif dtype.kind == "b":
            wrong = (flat != 0) & (flat != 1)
            found = flat.astype(dtype)
        else:
            limits = np.iinfo(dtype)
            # The largest of 64 bits is no double; the next one below is.
            wrong = ~((flat >= float(limits.min)) & (flat < float(limits.max) + 1))
            wrong |= flat != np.floor(flat)
            found = np.where(wrong, 0, flat).astype(dtype)
    if wrong.any():
        index = int(wrong.argmax())
        raise InvalidRequest(field, f"{flat[index]:g} at element {index} is no {datatype}")
    return found.tobytes()


class _Walk:
    """A walk over lists that are not all numbers of one form."""

    def __init__(self) -> None:
        self._count = 0

    def write(self, into: ListValue, content: list[object], field: str, depth: int) -> int:
        """Writes a list; returns the number of elements so far."""
        if depth > MOST_NESTED:
            raise InvalidRequest(field, f"lists inside one another; at most {MOST_NESTED}")
        # An empty list is one, too.
        into.SetInParent()
        self._count += len(content)
        if self._count > MOST_WALKED:
            raise _too_many(field)
        for index, element in enumerate(content):
            value = into.values.add()
            match element:
                case bool():
                    value.bool_value = element
                case int() | float():
                    try:
                        value.number_value = element
                    except (OverflowError, ValueError) as error:
                        text = f"{shown(element)} is no number of 64 bits"
                        raise InvalidRequest(f"{field}[{index}]", text) from error
                case str():
                    check_text(element, f"{field}[{index}]")
                    value.string_value = element
                case list():
                    self.write(value.list_value, element, f"{field}[{index}]", depth + 1)
                case _:
                    text = f"{shown(element)}; must be a number, a boolean or a text"
                    raise InvalidRequest(f"{field}[{index}]", text)
        return self._count


def _too_many(field: str) -> InvalidRequest:
    return InvalidRequest(
        field,
        f"more than {typed_values.MOST_NUMBERS:,} elements; send as many as these as `data`",
    )
