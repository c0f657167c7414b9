"""The many ways to write an input, as tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.client.errors import InvalidRequest
from adcaptum.v1 import tensor_pb2

# An array with the batch first; a text or texts; an encoded image or images, as bytes or as the
# path of a file; or numbers nested in lists, which are sent as float32 or int64.
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
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidRequest(f"inputs: the lists are not rectangular: {error}") from error
    # Nobody who writes a list of numbers asks for double precision.
    return array.astype(np.float32) if array.dtype == np.float64 else array
