"""Serialised requests that differ from an earlier one in the numbers of their array only."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.tensors import wire_dtype

MOST_TEMPLATES: Final = 256
MOST_BYTES: Final = 4096
"""The most bytes of a template: names and options, not numbers."""

# Values of other types may be equal without being written alike, or may change.
_PLAIN: Final = frozenset({str, int, bool, type(None)})


class _Template(NamedTuple):
    """A serialised request up to its numbers.

    Attributes:
        head: All bytes before the numbers.
        dtype: The type of the numbers on the wire.
    """

    head: bytes
    dtype: np.dtype[Any]


class RequestTemplates:
    """Templates of requests with one array, by its type and shape and by all options.

    Serialised messages concatenate, and a tensor's data are the last of its fields: so a request is
    the head of its template and the array's bytes. Building the message costs 40 µs more where
    seldom run code has left the processor's caches. Threads may share it.
    """

    def __init__(self, most: int = MOST_TEMPLATES) -> None:
        """Begin without templates.

        Args:
            most: The most templates to keep; 0 for none.
        """
        self._most = most
        self._known: dict[tuple[Any, ...], _Template] = {}

    def write(self, model: str, inputs: object, options: Mapping[str, Any]) -> bytes | None:
        """Return the serialised request; None if there is no template for it."""
        if type(inputs) is not np.ndarray:
            return None
        try:
            template = self._known.get(_key(model, inputs, options))
        except TypeError:  # an option cannot be hashed
            return None
        if template is None:
            return None
        return template.head + inputs.astype(template.dtype, copy=False).tobytes()

    def learn(self, model: str, inputs: object, options: Mapping[str, Any], request: Any) -> None:
        """Keep the template of a request, if requests like it are the same but for their numbers.

        Args:
            model: The model's name.
            inputs: The inputs as the caller gave them.
            options: All other options of the call.
            request: The message that was made of them.
        """
        plain = all(type(each) in _PLAIN for each in options.values())
        if not plain or type(inputs) is not np.ndarray or not inputs.size or not self._most:
            return
        (tensor,) = request.inputs
        dtype = wire_dtype(tensor.datatype)
        if dtype is None:
            return
        rest = type(request)()
        rest.CopyFrom(request)
        rest.ClearField("inputs")
        alone = type(request)(inputs=[tensor])
        if tuple(tensor.shape) != inputs.shape or tensor.data != inputs.astype(dtype).tobytes():
            # The model's declaration changed more than the datatype.
            return
        written = rest.SerializeToString() + alone.SerializeToString()
        head = written.removesuffix(tensor.data)
        if len(head) > MOST_BYTES:
            return
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[_key(model, inputs, options)] = _Template(head, dtype)


def _key(model: str, inputs: npt.NDArray[Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
    values = options.values()
    # With their types: True equals 1.
    return (model, inputs.dtype, inputs.shape, *options, *values, *map(type, values))
