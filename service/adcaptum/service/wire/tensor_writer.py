"""Tensors in memory -> tensors in messages, written in place."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.service.wire import list_writer
from adcaptum.service.wire.tensors import LENGTH, NAMES
from adcaptum.v1 import tensor_pb2

MOST_LISTED: Final = 1 << 16
"""The most numbers of a tensor that is written as nested lists; larger ones are bytes."""

FEWEST_PINNED_BYTES: Final = 1 << 16
"""The smallest tensor that comes back from CUDA through pinned memory; CUDA stages smaller ones
itself."""

NAMES_OF_ARRAYS: Final = {
    np.dtype(np.float32): "FP32",
    np.dtype(np.float64): "FP64",
    np.dtype(np.float16): "FP16",
}
"""The datatypes of arrays of attributions."""


def write(
    into: tensor_pb2.Tensor, values: Tensor, name: str = "", *, as_values: bool = False
) -> None:
    """Writes a tensor of numbers.

    Args:
        into: An empty message.
        values: The numbers.
        name: The name of the input or output.
        as_values: Whether to write nested lists, which people can read, up to `MOST_LISTED`
            numbers.
    """
    near = to_memory(values)
    if name:
        into.name = name
    into.datatype = NAMES[near.dtype]
    into.shape.extend(near.shape)
    if as_values and near.numel() <= MOST_LISTED:
        # NumPy has no bfloat16; float32 has all of its numbers.
        plain = near.float() if near.dtype is torch.bfloat16 else near
        list_writer.write(into.values, plain.numpy())
    else:
        # NumPy has no bfloat16, but its bytes.
        plain = near.view(torch.int16) if near.dtype is torch.bfloat16 else near
        into.data = plain.numpy().tobytes()


def write_array(
    into: tensor_pb2.Tensor, array: NDArray[np.floating], *, as_values: bool = False
) -> None:
    """Writes the numbers of an attribution, of float16, float32 or float64.

    Args:
        into: An empty message.
        array: The numbers.
        as_values: Whether to write nested lists, up to `MOST_LISTED` numbers.
    """
    into.datatype = NAMES_OF_ARRAYS[array.dtype]
    into.shape.extend(array.shape)
    if as_values and array.size <= MOST_LISTED:
        list_writer.write(into.values, array)
    else:
        into.data = array.tobytes()


def write_bytes(into: tensor_pb2.Tensor, items: Sequence[bytes], name: str = "") -> None:
    """Writes texts or encoded images."""
    into.name = name
    into.datatype = "BYTES"
    into.shape.append(len(items))
    into.data = b"".join([LENGTH.pack(len(item)) + item for item in items])


def encode(values: Tensor, name: str = "") -> tensor_pb2.Tensor:
    """Returns a message of its own with a tensor of numbers."""
    made = tensor_pb2.Tensor()
    write(made, values, name)
    return made


def encode_bytes(items: Sequence[bytes], name: str = "") -> tensor_pb2.Tensor:
    """Returns a message of its own with texts or encoded images."""
    made = tensor_pb2.Tensor()
    write_bytes(made, items, name)
    return made


def to_memory(values: Tensor) -> Tensor:
    """Returns a tensor in the memory of the processor, without its history of gradients."""
    if values.requires_grad:
        values = values.detach()
    if values.is_cpu:
        return values
    if values.device.type != "cuda" or values.nbytes < FEWEST_PINNED_BYTES:
        return values.cpu()
    with torch.cuda.device(values.device):
        whole = values.contiguous()
        pinned = torch.empty_like(whole, device="cpu", pin_memory=True)
        pinned.copy_(whole, non_blocking=True)
        torch.cuda.current_stream().synchronize()
    return pinned
