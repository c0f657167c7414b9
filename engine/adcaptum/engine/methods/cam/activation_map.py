"""Class activation maps: a layer's channels, weighted by their effect on the target."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.parameters import parameter

Reshape = Literal["none", "tokens", "channels_last"]

RESHAPE_TEXT = (
    "Dimension of the layer's channels: none: in the dimension after the examples; tokens: in the "
    "last of (tokens, channels), as in vision transformers: the tokens, less a leading class "
    "token, become a square map; channels_last: in the last, as in Swin."
)


@dataclass(frozen=True, slots=True)
class ActivationMap:
    """The parameters of a class activation map, and the fold of channels into it.

    Values are at the layer's resolution: (examples, 1, *positions), or (examples, channels,
    *positions) where channels are kept.
    """

    relu: bool = parameter(False, "Keep only what is positive in the map.")
    sum_channels: bool = parameter(True, "Sum over the channels; false gives each channel's part.")
    reshape: Reshape = parameter("none", RESHAPE_TEXT)

    def channels_first(self, tensor: Tensor) -> Tensor:
        """(rows, *features) -> (rows, channels, *positions).

        Raises:
            InvalidArgument: If the layer's values have no such form.
        """
        if self.reshape == "none":
            return tensor
        shape = tuple(tensor.shape[1:])
        if self.reshape == "channels_last":
            if len(shape) < 2:
                raise _unfit(self.reshape, shape, "(*positions, channels)")
            return tensor.movedim(-1, 1)
        if len(shape) != 2:
            raise _unfit(self.reshape, shape, "(tokens, channels)")
        tokens, side = shape[0], isqrt(shape[0])
        if tokens - side**2 not in {0, 1} or side == 0:
            raise _unfit(self.reshape, shape, "a square number of tokens, or one more")
        return tensor[:, tokens - side**2 :].movedim(2, 1).unflatten(2, (side, side))

    def joined(self, parts: Tensor) -> Tensor:
        """The map of the channels' parts, (rows, channels, *positions)."""
        if self.sum_channels and parts.dim() > 1:
            parts = parts.sum(1, keepdim=True)
        return parts.relu() if self.relu else parts


def check_layer(explicand: Explicand) -> None:
    """Raises InvalidArgument unless a layer is named."""
    if explicand.at == INPUT:
        raise InvalidArgument("layer", "not given", "this method explains the values at a layer")


def positions(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions of (rows, channels, *positions) that are positions."""
    return tuple(range(2, tensor.dim()))


def _unfit(reshape: str, shape: tuple[int, ...], form: str) -> InvalidArgument:
    return InvalidArgument("reshape", reshape, f"of {form}; the layer gives {shape}")
