"""Tensors in messages -> tensors in memory, with every check."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.wire import typed_values
from adcaptum.service.wire.base64_text import from_base64
from adcaptum.v1 import tensor_pb2

DATATYPES: Final[Mapping[str, torch.dtype | None]] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "UINT8": torch.uint8,
        "INT8": torch.int8,
        "INT16": torch.int16,
        "INT32": torch.int32,
        "INT64": torch.int64,
        "FP16": torch.float16,
        "BF16": torch.bfloat16,
        "FP32": torch.float32,
        "FP64": torch.float64,
        "BYTES": None,
    }
)
NAMES: Final = {dtype: name for name, dtype in DATATYPES.items() if dtype is not None}
FLOATS: Final = {
    torch.float16: np.float16,
    torch.float32: np.float32,
    torch.float64: np.float64,
}
LENGTH: Final = struct.Struct("<I")

MOST_DIMENSIONS: Final = 32
"""The most dimensions of a tensor."""

MOST_SHOWN: Final = 8
"""The most dimensions of a shape that messages repeat."""

MOST_ITEMS: Final = 1 << 16
"""The most items of a tensor of BYTES."""

FEW_BYTES: Final = 1 << 12
"""The largest tensor, in bytes, for which the time of each operation matters more than its size."""

FEWEST_BYTES: Final = 1 << 9
"""The largest tensor, in bytes, whose numbers Python adds up before NumPy has been called."""

LARGE_COPY: Final = 1 << 20
"""The smallest copy, in bytes, that is left to NumPy."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A tensor of texts or encoded images.

    Attributes:
        items: In row-major order.
        shape: Their arrangement.
    """

    items: tuple[bytes, ...]
    shape: tuple[int, ...]


def decode(
    message: tensor_pb2.Tensor, field: str, *, datatype: str = "", encoded: bool = False
) -> Tensor | Bytes:
    """Reads a tensor.

    Args:
        message: From the wire.
        field: Its field in the request, for errors.
        datatype: The datatype of numbers and booleans in `values` where the message gives none.
        encoded: True if texts in `values` are bytes in base64, as of images.

    Raises:
        InvalidRequest: Its datatype is unknown, a length is negative or zero, there are more or
            fewer elements than the shape implies, or a number is not finite.
    """
    require_contents(message, field)
    if message.HasField("values"):
        return _from_values(message, field, datatype, encoded=encoded)
    return _from_data(message, field)


def require_contents(message: tensor_pb2.Tensor, field: str) -> None:
    """Raises `InvalidRequest` if a tensor has no elements."""
    if message.WhichOneof("contents") is None:
        raise InvalidRequest(field, "without elements; must have data or values")


def has_texts(message: tensor_pb2.Tensor) -> bool:
    """Returns True if the `values` of a tensor are texts, as their first element has it."""
    if not message.HasField("values"):
        return False
    values = message.values.values
    return len(values) > 0 and values[0].HasField("string_value")


def nested_lengths(message: tensor_pb2.Tensor) -> Sequence[int]:
    """Returns the lengths of the lists of `values`, as the first ones have them."""
    if not message.HasField("values"):
        return ()
    values = message.values
    lengths = [len(values.values)]
    while values.values and values.values[0].HasField("list_value"):
        values = values.values[0].list_value
        lengths.append(len(values.values))
        if len(lengths) > MOST_DIMENSIONS:
            break
    return lengths


def _from_data(message: tensor_pb2.Tensor, field: str) -> Tensor | Bytes:
    datatype = message.datatype
    check_datatype(datatype, field)
    shape = _checked_shape(message.shape, field)
    dtype = DATATYPES[datatype]
    data = message.data
    if dtype is None:
        return _decode_bytes(data, shape, field)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidRequest(
            f"{field}.data",
            f"{len(data)} bytes; {datatype} of shape {shown(shape)} takes {_amount(expected)}",
        )
    if dtype is torch.float32 and len(data) <= FEW_BYTES:
        found = few_numbers(data, shape)
        if found is not None:
            return found
    flat = _copied(data).view(dtype)
    if dtype is torch.bool:
        if int(flat.view(torch.uint8).max()) > 1:
            raise InvalidRequest(f"{field}.data", "a BOOL must be the byte 0 or 1")
    elif dtype.is_floating_point:
        require_finite(flat, f"{field}.data")
    return flat.view(shape)


def few_numbers(data: bytes, shape: tuple[int, ...]) -> Tensor | None:
    """Reads a row of a table or a few: NumPy's operations take a third of PyTorch's time.

    Args:
        data: Numbers of 32 bits.
        shape: Their shape, of positive lengths.

    Returns:
        The numbers; None if they are many, not of this shape, or not all of them finite.
    """
    if len(data) > FEW_BYTES or len(data) != 4 * math.prod(shape):
        return None
    if len(data) <= FEWEST_BYTES:
        finite = math.isfinite(sum(memoryview(data).cast("f")))
    else:
        finite = math.isfinite(float(np.frombuffer(data, np.float32).sum(dtype=np.float64)))
    if not finite:
        return None
    return torch.from_numpy(np.frombuffer(data, np.float32).reshape(shape).copy())


def _from_values(
    message: tensor_pb2.Tensor, field: str, datatype: str, *, encoded: bool
) -> Tensor | Bytes:
    place = f"{field}.values"
    if message.datatype:
        check_datatype(message.datatype, field)
    found = typed_values.read(message.values, place)
    shape = _checked_shape(message.shape, field) if message.shape else found.shape
    # A list in a list in a list, or one list with its shape beside it.
    if message.shape and found.shape not in (shape, (math.prod(shape),)):
        raise InvalidRequest(
            f"{field}.shape", f"{shown(shape)}; the values are of shape {shown(found.shape)}"
        )
    if found.texts:
        if message.datatype not in ("", "BYTES"):
            raise InvalidRequest(place, f"texts; the datatype is {message.datatype}")
        items = _decoded_base64(found.texts, place) if encoded else _utf8(found.texts)
        return Bytes(items, shape)
    datatype = message.datatype or datatype
    dtype = DATATYPES[datatype]
    if dtype is None:
        raise InvalidRequest(place, f"must be {'images in base64' if encoded else 'texts'}")
    if found.flags:
        if dtype is not torch.bool:
            raise InvalidRequest(place, f"booleans; the datatype is {datatype}")
        return torch.tensor(found.flags).view(shape)
    if dtype is torch.bool:
        raise InvalidRequest(place, "numbers; the datatype is BOOL: must be true or false")
    return _of_dtype(found.numbers, dtype, place).view(shape)


def _of_dtype(numbers: NDArray[np.float64], dtype: torch.dtype, field: str) -> Tensor:
    """Converts numbers to a datatype that has to have them."""
    if not np.isfinite(numbers).all():
        require_finite(torch.from_numpy(numbers), field)
    with np.errstate(over="ignore"):
        if dtype is torch.bfloat16:  # NumPy has none
            converted = torch.from_numpy(numbers.copy()).to(dtype)
            wrong = ~torch.isfinite(converted).numpy()
        elif dtype.is_floating_point:
            array = numbers.astype(FLOATS[dtype])
            converted, wrong = torch.from_numpy(array), ~np.isfinite(array)
        else:
            limits = torch.iinfo(dtype)
            # The largest INT64 is no double; the next one below is.
            wrong = (numbers < float(limits.min)) | (numbers >= float(limits.max + 1))
            wrong |= numbers != np.floor(numbers)
            whole = np.where(wrong, 0, numbers).astype(np.int64)
            converted = torch.from_numpy(whole).to(dtype)
    if wrong.any():
        index = int(wrong.argmax())
        raise InvalidRequest(field, f"{numbers[index]:g} at element {index} is no {NAMES[dtype]}")
    return converted


def _utf8(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def _decoded_base64(texts: Sequence[str], field: str) -> tuple[bytes, ...]:
    items = []
    for index, text in enumerate(texts):
        data = from_base64(text)
        if data is None:
            raise InvalidRequest(f"{field}[{index}]", f"{shortened(text)} is not base64")
        items.append(data)
    return tuple(items)


def _checked_shape(lengths: Sequence[int], field: str) -> tuple[int, ...]:
    check_rank(lengths, field)
    shape = tuple(lengths)
    for index, length in enumerate(shape):
        if length <= 0:
            # An empty batch asks nothing, and an empty tensor cannot be explained.
            what = "negative" if length < 0 else "empty batch" if index == 0 else "empty"
            raise InvalidRequest(f"{field}.shape", f"{shown(shape)}: {what}; must be at least 1")
    return shape


def check_datatype(datatype: str, field: str) -> None:
    """Raises `InvalidRequest` if there is no such datatype."""
    if not datatype:
        raise InvalidRequest(
            f"{field}.datatype", f"missing; must be one of {', '.join(sorted(DATATYPES))}"
        )
    if datatype not in DATATYPES:
        hint = did_you_mean(datatype, DATATYPES)
        raise InvalidRequest(f"{field}.datatype", f"{shortened(datatype)} is unknown. {hint}")


def check_rank(shape: Sequence[int], field: str) -> None:
    """Raises `InvalidRequest` if a shape has more dimensions than a tensor can have."""
    if len(shape) > MOST_DIMENSIONS:
        raise InvalidRequest(
            f"{field}.shape",
            f"{len(shape)} dimensions; at most {MOST_DIMENSIONS} are allowed",
        )


def shown(shape: Sequence[int]) -> str:
    """Returns a shape for a message, its first dimensions if there are many."""
    if len(shape) <= MOST_SHOWN:
        return str(list(shape))
    return f"[{', '.join(map(str, shape[:MOST_SHOWN]))}, ...]"


def _amount(number: int) -> str:
    return str(number) if number < 1 << 63 else "more than 2**63"


def _copied(data: bytes) -> Tensor:
    """Copies bytes: PyTorch would warn of memory that cannot be written, and rightly."""
    if len(data) < LARGE_COPY:
        return torch.frombuffer(bytearray(data), dtype=torch.uint8)
    # NumPy copies without holding up other threads.
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def require_finite(values: Tensor, field: str) -> None:
    """Raises `InvalidRequest` if there is a NaN or an infinity in `values`."""
    # One pass and no temporary: 0 * inf and 0 * nan are nan, so that sum is finite if all are,
    # except where large numbers overflow, which the exact check then tells apart.
    if math.isfinite(values.sum().item()):
        return
    wrong = torch.nonzero(~torch.isfinite(values.flatten()))
    if len(wrong):
        index = int(wrong[0])
        value = values.flatten()[index].item()
        raise InvalidRequest(field, f"{value} at element {index}; must be finite")


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copies a tensor to a device, before later work on its default stream.

    To CUDA it goes through pinned memory: the calling thread does not wait for a busy device.
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    # The copy belongs to this device's stream, whichever device is the current one.
    with torch.cuda.device(device):
        return values.pin_memory().to(device, non_blocking=True)


def require_shape(actual: Sequence[int], declared: Sequence[int], field: str) -> None:
    """Raises `InvalidRequest` if `actual` is not of the declared rank and fixed lengths."""
    if len(actual) == len(declared) and all(
        want in (-1, have) for have, want in zip(actual, declared, strict=True)
    ):
        return
    allowed = list(declared)
    what = "rank" if len(actual) != len(declared) else "length"
    raise InvalidRequest(
        f"{field}.shape", f"{shown(actual)} has the wrong {what}; must be {allowed}, -1 for any"
    )


def split(data: bytes) -> Iterator[bytes]:
    """Yields the items of a tensor of BYTES, as far as they are complete."""
    offset = 0
    while offset + LENGTH.size <= len(data):
        start = offset + LENGTH.size
        offset = start + LENGTH.unpack_from(data, offset)[0]
        if offset > len(data):
            return
        yield data[start:offset]


def _decode_bytes(data: bytes, shape: tuple[int, ...], field: str) -> Bytes:
    expected = math.prod(shape)
    items = tuple(islice(split(data), min(expected + 1, MOST_ITEMS)))
    used = sum([len(item) + LENGTH.size for item in items])
    if len(items) <= expected and len(items) < MOST_ITEMS and used != len(data):
        raise InvalidRequest(
            f"{field}.data", f"item {len(items)} ends beyond the {len(data)} bytes sent"
        )
    if len(items) != expected:
        given = f"{len(items)}{'' if used == len(data) else ' or more'}"
        raise InvalidRequest(
            f"{field}.data",
            f"{given} items; BYTES of shape {shown(shape)} takes {_amount(expected)}",
        )
    return Bytes(items, shape)
