"""The many ways to write an input, as tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.tensors import decode_tensor, encode_tensor
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.results.model_info import InputInfo
from adcaptum.v1 import tensor_pb2

# An array with the batch first; a text or texts; an encoded image or images, as bytes or as the
# path of a file; or numbers nested in lists.
Input: TypeAlias = npt.NDArray[Any] | str | bytes | Path | Sequence[Any]
Inputs: TypeAlias = Input | Mapping[str, Input]


def encode_inputs(inputs: Inputs) -> list[tensor_pb2.Tensor]:
    """Encode a model's inputs, or its only input.

    Raises:
        InvalidRequest: An input is of a type that cannot be sent.
        OSError: The file of an image cannot be read.
    """
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    if not named:
        raise InvalidRequest("inputs: at least one is required")
    return [encode_tensor(as_array(value), name) for name, value in named.items()]


def has_default_datatype(tensor: tensor_pb2.Tensor) -> bool:
    """Whether the datatype is one that numpy chooses where the caller does not."""
    return tensor.datatype in {"FP64", "INT64"}


def convert_to_declared(tensor: tensor_pb2.Tensor, inputs: Sequence[InputInfo]) -> None:
    """Give numbers the datatype that the model declares: a caller's 1.0 is a double to numpy.

    Args:
        tensor: An input or a baseline; it is changed.
        inputs: The model's.
    """
    if not has_default_datatype(tensor):
        return
    for declared in inputs:
        if declared.name == (tensor.name or inputs[0].name) and _may_convert(tensor, declared):
            tensor.CopyFrom(encode_tensor(decode_tensor(tensor), tensor.name, declared.datatype))


def as_array(value: Input) -> npt.NDArray[Any]:
    """Turn an input into an array with the batch first.

    Raises:
        OSError: The file of an image cannot be read.
    """
    match value:
        case np.ndarray():
            return value
        case str() | bytes() | Path():
            return _as_objects([value])
    elements = list(value)
    if elements and all(isinstance(each, str | bytes | Path) for each in elements):
        return _as_objects(elements)
    return _as_numbers(elements)


def _as_objects(values: Sequence[str | bytes | Path]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = [value.read_bytes() if isinstance(value, Path) else value for value in values]
    return array


def _as_numbers(values: Sequence[Any]) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidRequest(f"inputs: the lists are not rectangular: {error}") from error


def _may_convert(tensor: tensor_pb2.Tensor, declared: InputInfo) -> bool:
    if declared.datatype == tensor.datatype or not declared.datatype.startswith(("FP", "BF")):
        return False
    # Whole numbers in an image are from 0 to 255, real ones from 0 to 1.
    return tensor.datatype == "FP64" or declared.kind != "image"
