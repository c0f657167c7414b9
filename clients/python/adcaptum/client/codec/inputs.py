"""Encoding of inputs: arrays, texts, images and nested lists."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.tables import is_table, table_rows
from adcaptum.client.codec.tensors import (
    decode_tensor,
    encode_tensor,
    wire_dtype,
    write_tensor,
)
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.results.model_info import InputInfo, InputKind
from adcaptum.v1 import tensor_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_LONGEST_PATH: Final = 4096
_IMAGE_DIMENSIONS: Final = 3

# What PNG stores as it is; other images are converted.
_PNG_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})


class Picture(Protocol):
    """An image of Pillow, which need not be installed."""

    @property
    def mode(self) -> str:
        """The kind of its pixels, such as RGB."""

    def save(self, fp: Any, format: str | None = None) -> None:  # noqa: A002 - Pillow's word
        """Write the image."""

    def convert(self, mode: str) -> "Picture":
        """Return the image in another mode."""


# An array with the batch first, or one image without; a text or texts; an image or images: encoded,
# as bytes or as the path of a file, or of Pillow; numbers nested in lists; or a table of pandas,
# Arrow or Polars.
Input: TypeAlias = npt.NDArray[Any] | str | bytes | Path | Picture | Sequence[Any]
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


def depends_on_model(inputs: Inputs) -> bool:
    """True if the model's declaration says how an input is read.

    Texts that are paths of files may be images, tables have columns in the model's order, and an
    array of three dimensions may be one image.
    """
    if type(inputs) is np.ndarray:
        return inputs.ndim == _IMAGE_DIMENSIONS
    named = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return any(_depends_on_model(value) for value in named)


def as_declared(inputs: Inputs, declared: Sequence[InputInfo]) -> Inputs:
    """Read tables by the columns of the model, and single images and paths of images as images.

    Raises:
        InvalidRequest: A table does not have the model's columns.
    """
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    known = {each.name: each for each in declared}
    if declared:
        known[""] = declared[0]
    return {name: _as_declared(value, known.get(name)) for name, value in named.items()}


def _depends_on_model(value: Input) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == _IMAGE_DIMENSIONS
    return is_table(value) or any(_is_file(text) for text in _texts(value))


def _as_declared(value: Any, declared: InputInfo | None) -> Any:
    if is_table(value):
        return table_rows(value, declared)
    if declared is None or declared.kind is not InputKind.IMAGE:
        return value
    if isinstance(value, np.ndarray):
        return value[None] if value.ndim == _IMAGE_DIMENSIONS else value
    texts = _texts(value)
    return [Path(text) for text in texts] if texts and all(map(_is_file, texts)) else value


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
    if _is_picture(value):
        return _as_objects([_encoded(value)])
    elements = [_encoded(each) if _is_picture(each) else each for each in _listed(value)]
    if elements and all(isinstance(each, str | bytes | Path) for each in elements):
        return _as_objects(elements)
    return _as_numbers(elements)


def _listed(value: Any) -> list[Any]:
    if is_table(value):
        return list(table_rows(value, None))
    try:
        return list(value)
    except TypeError as error:
        kind = type(value).__name__
        raise InvalidRequest(
            f"inputs: a {kind}; must be an array, lists of numbers, texts, images or a table"
        ) from error


def _is_picture(value: object) -> bool:
    return hasattr(value, "save") and any(
        kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__
    )


def _encoded(picture: Any) -> bytes:
    """Return an image of Pillow as PNG, which loses nothing."""
    file = io.BytesIO()
    kept = picture if picture.mode in _PNG_MODES else picture.convert("RGB")
    kept.save(file, "PNG")
    return file.getvalue()


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
    if declared.datatype == tensor.datatype:
        return False
    if not declared.datatype.startswith(("FP", "BF")):
        return tensor.datatype == "INT64" and _fits(tensor, declared)
    # Images of integers range from 0 to 255, those of real numbers from 0 to 1.
    return tensor.datatype == "FP64" or declared.kind is not InputKind.IMAGE


def _fits(tensor: tensor_pb2.Tensor, declared: InputInfo) -> bool:
    """True if a smaller datatype of whole numbers holds all numbers of a tensor."""
    dtype = wire_dtype(declared.datatype)
    if dtype is None or declared.kind is InputKind.IMAGE:
        return False
    numbers = decode_tensor(tensor)
    return np.array_equal(numbers, numbers.astype(dtype))
