"""Encoding of inputs: arrays, texts, images and nested lists."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.tensors import decode_tensor, encode_tensor, write_tensor
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.results.model_info import InputInfo, InputKind
from adcaptum.v1 import tensor_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_LONGEST_PATH = 4096

# An array with the batch first; a text or texts; an encoded image or images, as bytes or as the
# path of a file; or numbers nested in lists.
Input: TypeAlias = npt.NDArray[Any] | str | bytes | Path | Sequence[Any]
Inputs: TypeAlias = Input | Mapping[str, Input]


def write_inputs(
    into: "RepeatedCompositeFieldContainer[tensor_pb2.Tensor]", inputs: Inputs
) -> None:
    """Write a model's inputs, or its only input, into an empty list of a message.

    Raises:
        InvalidRequest: An input is of a type that cannot be sent.
        OSError: The file of an image cannot be read.
    """
    if not isinstance(inputs, Mapping):
        write_tensor(into.add(), as_array(inputs))
        return
    if not inputs:
        raise InvalidRequest("inputs: at least one is required")
    for name, value in inputs.items():
        write_tensor(into.add(), as_array(value), name)


def names_files(inputs: Inputs) -> bool:
    """True if a text among the inputs is the path of an existing file."""
    if isinstance(inputs, np.ndarray):
        return False
    named = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return any(_is_file(text) for value in named for text in _texts(value))


def with_files(inputs: Inputs, declared: Sequence[InputInfo]) -> Inputs:
    """Replace the texts that are paths of files by paths, in inputs that are images."""
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    images = {each.name for each in declared if each.kind is InputKind.IMAGE}
    first = declared[0].name if declared else ""
    found = {
        name: [Path(text) for text in texts]
        for name, value in named.items()
        if (name or first) in images and all(map(_is_file, texts := _texts(value))) and texts
    }
    return {**named, **found}


def has_default_datatype(tensor: tensor_pb2.Tensor) -> bool:
    """True for the datatypes that numpy chooses by default."""
    return tensor.datatype in {"FP64", "INT64"}


def convert_to_declared(tensor: tensor_pb2.Tensor, inputs: Sequence[InputInfo]) -> None:
    """Convert a tensor to the datatype that the model declares: to numpy, 1.0 is a double.

    Args:
        tensor: An input or a baseline; changed in place.
        inputs: The inputs that the model declares.
    """
    if not has_default_datatype(tensor):
        return
    for declared in inputs:
        if declared.name == (tensor.name or inputs[0].name) and _may_convert(tensor, declared):
            tensor.CopyFrom(encode_tensor(decode_tensor(tensor), tensor.name, declared.datatype))


def as_array(value: Input) -> npt.NDArray[Any]:
    """Convert an input to an array with the batch first.

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


def _texts(value: Input) -> list[str]:
    """Return the texts of an input; empty where it is not of texts alone."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return list(value)
    return []


def _is_file(text: str) -> bool:
    try:
        return len(text) <= _LONGEST_PATH and Path(text).is_file()
    except (OSError, ValueError):
        return False


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
    # Images of integers range from 0 to 255, those of real numbers from 0 to 1.
    return tensor.datatype == "FP64" or declared.kind is not InputKind.IMAGE
