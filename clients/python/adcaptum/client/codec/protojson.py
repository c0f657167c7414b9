"""Replies as ProtoJSON, with tensors as lists that people can read."""

import base64
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf import json_format
from google.protobuf.message import Message

from adcaptum.client.codec.tensors import decode_tensor
from adcaptum.v1 import tensor_pb2

MOST_VALUES: Final = 65_536
"""The most numbers of a tensor that are written as a list, as in requests."""

_LARGEST_EXACT: Final = 2**53


def to_json(message: Message) -> dict[str, Any]:
    """Convert a message to its JSON form, as dictionaries and lists.

    Names are the protocol's own. Tensors have `values` instead of `data`, up to `MOST_VALUES`
    numbers, each with the fewest digits that its datatype needs; other numbers that are whole are
    integers.
    """
    written = json_format.MessageToDict(message, preserving_proto_field_name=True)
    readable: dict[str, Any] = _readable(written)
    return readable


def _readable(value: Any) -> Any:
    match value:
        case dict():
            if value.keys() >= {"data", "datatype"}:
                return _tensor(value)
            return {name: _readable(each) for name, each in value.items()}
        case list():
            return [_readable(each) for each in value]
        case float() if value.is_integer() and abs(value) < _LARGEST_EXACT:
            return int(value)
    return value


def _tensor(written: dict[str, Any]) -> dict[str, Any]:
    shape = written.get("shape", [])
    if math.prod(shape) > MOST_VALUES:
        return written
    data = base64.b64decode(written["data"])
    array = decode_tensor(tensor_pb2.Tensor(datatype=written["datatype"], shape=shape, data=data))
    rest = {name: each for name, each in written.items() if name != "data"}
    return {**rest, "values": _values(array)}


def _values(array: npt.NDArray[Any]) -> list[Any]:
    """Return an array as nested lists; an array without dimensions as a list of one."""
    if array.ndim == 0:
        return _values(array.reshape(1))
    if array.dtype != object and array.dtype.kind != "f":
        return array.tolist()
    written = np.empty(array.size, dtype=object)
    convert = _text if array.dtype == object else _number
    written[:] = [convert(element) for element in array.ravel()]
    return written.reshape(array.shape).tolist()


def _number(number: np.floating[Any]) -> float | str:
    if np.isfinite(number):
        # The text of a numpy number has as many digits as its datatype needs.
        return float(str(number))
    return "NaN" if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return base64.b64encode(element).decode()
