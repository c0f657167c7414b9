"""Messages -> JSON, as ProtoJSON writes it, with the names of the .proto files.

The text is written in pieces: one call that writes a megabyte of numbers would hold up all threads
for as long as it takes.
"""

import base64
import json
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from numpy.typing import NDArray

from adcaptum.service.protocols.protojson import lists
from adcaptum.service.wire import list_writer

PIECE: Final = 1 << 12
"""The most numbers that are written at a time, in a millisecond."""

TENSOR: Final = "adcaptum.v1.Tensor"
LONG: Final = frozenset({Field.TYPE_INT64, Field.TYPE_UINT64})
MOST_LISTED: Final = 1 << 16
"""The most numbers of a tensor that are written as lists."""


def written(message: Message, *, as_values: bool = False, plain: bool = False) -> str:
    """Returns a message as JSON, in one line.

    Args:
        message: It.
        as_values: Whether tensors that came as `data` are written as `values`, up to `MOST_LISTED`
            numbers.
        plain: Whether it is the JSON of other protocols: with zeros, and with long whole numbers
            that are no texts.
    """
    return "".join(_Writer(as_values=as_values, plain=plain).message(message))


class _Writer:
    """The writing of one message."""

    def __init__(self, *, as_values: bool, plain: bool) -> None:
        self._as_values = as_values
        self._plain = plain

    def message(self, message: Any) -> Iterator[str]:
        """Yields the pieces of a message."""
        kind = message.DESCRIPTOR.full_name
        if kind == "google.protobuf.ListValue":
            yield from _list(message)
            return
        if kind.startswith("google.protobuf."):
            yield json.dumps(json_format.MessageToDict(message), ensure_ascii=False)
            return
        before = "{"
        fields = message.ListFields()
        if self._plain:
            fields = [
                (field, getattr(message, field.name))
                for field in message.DESCRIPTOR.fields
                if not field.has_presence or message.HasField(field.name)
            ]
        for field, value in fields:
            if kind == TENSOR and field.name == "data" and self._as_values:
                array = _array(message)
                if array is not None:
                    yield before + '"values":'
                    yield from nested(array)
                    before = ","
                    continue
            yield f'{before}"{field.name}":'
            before = ","
            yield from self._field(field, value)
        yield "}" if before == "," else "{}"

    def _field(self, field: Field, value: Any) -> Iterator[str]:
        if not field.is_repeated:
            yield from self._element(field, value)
            return
        inner = field.message_type
        before = ""
        if inner is not None and inner.GetOptions().map_entry:
            of_value = inner.fields_by_name["value"]
            yield "{"
            for key in sorted(value):
                yield f"{before}{json.dumps(str(key), ensure_ascii=False)}:"
                yield from self._element(of_value, value[key])
                before = ","
            yield "}"
            return
        yield "["
        for each in value:
            yield before
            yield from self._element(field, each)
            before = ","
        yield "]"

    def _element(self, field: Field, value: Any) -> Iterator[str]:
        if field.message_type is not None:
            yield from self.message(value)
        else:
            yield str(value) if self._plain and field.type in LONG else _scalar(field, value)


def _scalar(field: Any, value: Any) -> str:
    if field.type in LONG:
        return f'"{value}"'
    if field.type == Field.TYPE_BYTES:
        return f'"{base64.b64encode(value).decode()}"'
    if field.type == Field.TYPE_ENUM:
        named = field.enum_type.values_by_number.get(value)
        return str(value) if named is None else f'"{named.name}"'
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: float) -> str:
    """Returns a number; ProtoJSON has words for those that JSON has not."""
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def nested(array: NDArray[Any]) -> Iterator[str]:
    """Yields the pieces of an array as lists in lists."""
    yield "["
    if array.ndim > 1:
        for index in range(len(array)):
            if index:
                yield ","
            yield from nested(array[index])
    else:
        finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
        write = number if not finite else repr if array.dtype.kind != "b" else _flag
        for begin in range(0, len(array), PIECE):
            if begin:
                yield ","
            yield ",".join(map(write, array[begin : begin + PIECE].tolist()))
    yield "]"


def _flag(value: object) -> str:
    return "true" if value else "false"


def array_of(tensor: Any) -> NDArray[Any] | None:
    """Returns the numbers of a tensor; None where they are too many, or no numbers."""
    if tensor.WhichOneof("contents") == "values":
        return lists.read(tensor.values)
    return _array(tensor)


def _array(tensor: Any) -> NDArray[Any] | None:
    """Returns the numbers of a tensor that came as bytes; None where they stay bytes."""
    dtype = lists.DTYPES.get(tensor.datatype)
    if dtype is None or math.prod(tensor.shape) > MOST_LISTED:
        return None
    found = np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))
    if found.dtype in list_writer.DIGITS:
        found = list_writer.shortest(found)
    return found if found.ndim else found.reshape(1)


def _list(values: Any) -> Iterator[str]:
    numbers = lists.read(values)
    if numbers is not None:
        yield from nested(numbers)
    else:
        yield json.dumps(json_format.MessageToDict(values), ensure_ascii=False)
