"""Conversion between arrays and the protocol's tensors."""

import itertools
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from adcaptum.client.errors import FieldViolation, Internal, InvalidRequest
from adcaptum.v1 import tensor_pb2

# Always little-endian on the wire, whatever the machine.
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_DATATYPES = {dtype.newbyteorder("="): datatype for datatype, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<I")


def write_tensor(
    into: tensor_pb2.Tensor, array: npt.NDArray[Any], name: str = "", datatype: str | None = None
) -> None:
    """Write an array into an empty tensor of a message.

    Args:
        into: The tensor.
        array: Numbers, booleans, or texts and bytes (as an object or string array).
        name: The model's name of the input; may be empty for a model with one input.
        datatype: The protocol's name of the type to send; by default the array's own. BF16 rounds
            to nearest even.

    Raises:
        InvalidRequest: The protocol has no such type.
    """
    datatype = datatype or _datatype_of(array, name)
    into.data = _encode_data(array, datatype, name)
    into.name = name
    into.datatype = datatype
    into.shape.extend(array.shape)


def encode_tensor(
    array: npt.NDArray[Any], name: str = "", datatype: str | None = None
) -> tensor_pb2.Tensor:
    """Encode an array as `write_tensor` does.

    Raises:
        InvalidRequest: The protocol has no such type.
    """
    tensor = tensor_pb2.Tensor()
    write_tensor(tensor, array, name, datatype)
    return tensor


def decode_tensor(tensor: tensor_pb2.Tensor) -> npt.NDArray[Any]:
    """Decode a tensor to an array of its shape, of its type in the machine's byte order.

    Numbers are a read-only view of the message's bytes. BF16, which numpy lacks, becomes float32;
    BYTES become an object array of bytes.

    Raises:
        Internal: The datatype is unknown or the data does not fit the shape.
    """
    try:
        if tensor.HasField("values"):
            return _from_values(tensor)
        return _decode_data(tensor).reshape(tuple(tensor.shape))
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise Internal(
            f"the server sent a tensor that cannot be read: {tensor.datatype!r} of shape "
            f"{list(tensor.shape)} in {len(tensor.data)} bytes"
        ) from error


def wire_dtype(datatype: str) -> np.dtype[Any] | None:
    """Return numpy's type of a datatype's numbers on the wire; None if it has none."""
    return _DTYPES.get(datatype)


def _datatype_of(array: npt.NDArray[Any], name: str) -> str:
    dtype = array.dtype
    if (datatype := _DATATYPES.get(dtype)) is not None:
        return datatype
    if dtype.kind in "OSU":
        return "BYTES"
    # The type of the package ml_dtypes.
    if dtype.name == "bfloat16":
        return "BF16"
    try:
        return _DATATYPES[dtype.newbyteorder("=")]
    except KeyError:
        allowed = ", ".join([*_DTYPES, "BF16", "BYTES"])
        raise _invalid(name, f"an array of {dtype} cannot be sent, only {allowed}") from None


def _encode_data(array: npt.NDArray[Any], datatype: str, name: str) -> bytes:
    if datatype == "BYTES":
        return b"".join(_elements(array, name))
    if datatype == "BF16":
        return _to_bfloat16(array).tobytes()
    if datatype not in _DTYPES:
        raise _invalid(name, f"there is no datatype {datatype}")
    return array.astype(_DTYPES[datatype], copy=False).tobytes()


def _decode_data(tensor: tensor_pb2.Tensor) -> npt.NDArray[Any]:
    datatype, data = tensor.datatype, tensor.data
    if datatype == "BYTES":
        return _split(data, math.prod(tensor.shape))
    if datatype == "BF16":
        upper = np.frombuffer(data, "<u2").astype(np.uint32)
        return (upper << np.uint32(16)).view(np.float32)
    dtype = _DTYPES[datatype]
    numbers = np.frombuffer(data, dtype)
    # A copy only on machines that are not little-endian.
    return numbers if dtype.isnative else numbers.astype(dtype.newbyteorder("="))


def _from_values(tensor: tensor_pb2.Tensor) -> npt.NDArray[Any]:
    """Decode nested lists, which a server sends where the request had them."""
    if tensor.datatype == "BYTES":
        texts = np.empty(len(tensor.values), dtype=object)
        texts[:] = [str(each).encode() for each in tensor.values]
        return texts.reshape(tuple(tensor.shape))
    dtype = np.dtype(np.float32) if tensor.datatype == "BF16" else _DTYPES[tensor.datatype]
    # numpy reads the texts "NaN" and "Infinity" as ProtoJSON writes them.
    numbers = np.array(_nested(tensor.values), dtype=object).ravel()
    return numbers.astype(np.float64).astype(dtype).reshape(tuple(tensor.shape))


def _nested(values: Any) -> list[Any]:
    return [
        each if isinstance(each, bool | float | str) else _nested(each) for each in values.items()
    ]


def _to_bfloat16(array: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    bits = np.ascontiguousarray(array, np.float32).view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    # Rounding up could turn a NaN with few bits set into an infinity.
    quiet = (bits >> np.uint64(16)) | np.uint64(0x40)
    return np.where(np.isnan(array), quiet, rounded).astype("<u2")


def _elements(array: npt.NDArray[Any], name: str) -> Iterator[bytes]:
    for element in array.ravel():
        match element:
            case str():
                data = element.encode()
            case bytes():
                data = bytes(element)
            case _:
                kind = type(element).__name__
                raise _invalid(name, f"an element is a {kind}, neither text nor bytes")
        yield _LENGTH.pack(len(data)) + data


def _split(data: bytes, count: int) -> npt.NDArray[np.object_]:
    array = np.empty(count, dtype=object)
    start = 0
    for index in itertools.count():
        if start == len(data):
            break
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if index >= count or start + length > len(data):
            raise ValueError("the lengths do not add up")
        array[index] = data[start : start + length]
        start += length
    if None in array:
        raise ValueError("elements are missing")
    return array


def _invalid(name: str, description: str) -> InvalidRequest:
    field = f"inputs[{name}]" if name else "inputs"
    return InvalidRequest(
        f"{field}: {description}", violations=(FieldViolation(field, description),)
    )
