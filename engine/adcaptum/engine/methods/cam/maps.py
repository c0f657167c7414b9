"""Class activation maps: a layer's channels, weighted by what they do for the target.

The methods of this family differ in the weights alone. Values are at the layer's resolution:
(examples, 1, *positions), or (examples, channels, *positions) where channels are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor
from torch.nn import functional

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask

Reshape = Literal["none", "tokens", "channels_last"]
Enlarging = Literal["nearest", "linear"]
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

RESHAPE_TEXT = (
    "Where the layer has its channels: none: in the dimension after the examples; tokens: in the "
    "last of (tokens, channels), as in vision transformers: the tokens, less a leading class "
    "token, become a square map; channels_last: in the last, as in Swin."
)
RELU_TEXT = "Keep only what is positive in the map."
SUM_TEXT = "Sum over the channels; false gives each channel's part."


@dataclass(frozen=True, slots=True)
class Maps:
    """How a layer's values become a map.

    Attributes:
        relu: Whether only positive values are kept, at last.
        sum_channels: Whether the channels are summed.
        reshape: Where the channels are.
    """

    relu: bool
    sum_channels: bool
    reshape: Reshape

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
        """Each channel's part, (rows, channels, *positions), as the map that is returned."""
        if self.sum_channels and parts.dim() > 1:
            parts = parts.sum(1, keepdim=True)
        return parts.relu() if self.relu else parts

    def explained(
        self, explicand: Explicand, parts: Callable[[Tensor, Tensor], Tensor]
    ) -> Flow[Attribution]:
        """Explains by the gradients at the layer.

        Args:
            explicand: What is to be explained.
            parts: Makes of a tensor's values and gradients, (rows, channels, *positions) each,
                what each channel contributes at each position.

        Raises:
            InvalidArgument: If no layer is named, or it does not have the form that `reshape` says.
        """
        check_layer(explicand)
        reading = yield from ask(explicand.at_inputs(gradient=True, read=True))
        values = zip(widened(reading.activations), widened(reading.gradients), strict=True)
        maps = (
            self.joined(parts(self.channels_first(a), self.channels_first(g))) for a, g in values
        )
        return Attribution(tuple(maps), output=reading.values)


def check_layer(explicand: Explicand) -> None:
    """Raises InvalidArgument unless a layer is named."""
    if explicand.at == INPUT:
        raise InvalidArgument("layer", "not given", "this method explains the values at a layer")


def positions(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions of (rows, channels, *positions) that are positions."""
    return tuple(range(2, tensor.dim()))


def over_positions(fold: Callable[..., Tensor], tensor: Tensor) -> Tensor:
    """Folds over the positions, such as `torch.mean`; a channel without positions is as it is."""
    dims = positions(tensor)
    return fold(tensor, dim=dims, keepdim=True) if dims else tensor


def _unfit(reshape: str, shape: tuple[int, ...], form: str) -> InvalidArgument:
    return InvalidArgument("reshape", reshape, f"of {form}; the layer gives {shape}")


def enlarged(maps: Sequence[Tensor], like: Tensor, enlarging: str) -> Tensor:
    """A layer's one map, (examples, 1, *positions), at the resolution of an input.

    The positions are the input's last dimensions; over those before them the map is the same.

    Args:
        maps: The layer's; there has to be one.
        like: The input, (examples, ..., *sizes).
        enlarging: "nearest", "linear" for as many dimensions as there are, or any other mode of
            torch.nn.functional.interpolate.

    Raises:
        InvalidArgument: If the layer has several tensors, or its map more positions than the input.
    """
    if len(maps) != 1:
        raise InvalidArgument("layer", f"one with {len(maps)} tensors", "one that has one")
    cam = maps[0]
    positions = cam.dim() - 2
    others = like.dim() - 1 - positions
    if others < 0:
        raise InvalidArgument(
            "layer",
            f"one whose map has the positions {tuple(cam.shape[2:])}",
            f"one whose map can be enlarged to an input of shape {tuple(like.shape[1:])}",
        )
    if positions:
        mode = _LINEAR.get(positions, enlarging) if enlarging == "linear" else enlarging
        try:
            cam = functional.interpolate(cam, tuple(like.shape[1 + others :]), mode=mode)
        except (ValueError, NotImplementedError) as error:
            raise InvalidArgument("enlarging", repr(enlarging), str(error)) from error
    return cam.view(len(cam), *(1,) * others, *cam.shape[2:])
