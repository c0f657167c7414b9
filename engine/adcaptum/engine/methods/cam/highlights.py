"""Rows that show an input through the maps of a layer's channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows

INTERPOLATIONS = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""By the number of dimensions that are interpolated."""


@dataclass(frozen=True, eq=False)
class Highlighted(Rows):
    """Each example, seen through each of its maps; the rest is at the baseline.

    A map is up-sampled to the input's last dimensions, as many as it has, and scaled to lie between
    0 and 1; one that is the same everywhere shows nothing. Inputs that are not floating-point, or
    have too few dimensions, are always seen whole.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        maps: The maps, (examples, maps, *positions).
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    maps: Tensor

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.maps.shape[1]

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        maps = self.maps[e0:e1, s0:s1]
        made = []
        for end, start in zip(self.ends, self.starts, strict=True):
            whole, none = end[e0:e1, None], start[e0:e1, None]
            if seen_through(end, self.maps):
                shown = _shown(maps.to(end.device), end)
                made.append(torch.lerp(none.to(shown.dtype), whole.to(shown.dtype), shown))
            else:
                made.append(whole.expand(-1, s1 - s0, *(-1,) * (end.dim() - 1)).clone())
        return tuple(m.to(end.dtype) for m, end in zip(made, self.ends, strict=True))


def seen_through(tensor: Tensor, maps: Tensor) -> bool:
    """Returns whether an input has the positions of the maps."""
    return tensor.is_floating_point() and tensor.dim() - 1 >= maps.dim() - 2


def check_maps(ends: tuple[Tensor, ...], maps: Tensor) -> None:
    """Raises InvalidArgument unless the maps can be laid over an input."""
    shape = tuple(maps.shape[1:])
    if maps.dim() - 2 not in INTERPOLATIONS:
        raise InvalidArgument(
            "layer", f"of values of shape {shape}", "(channels, *positions) with 1 to 3 dimensions"
        )
    if not any(seen_through(end, maps) for end in ends):
        raise InvalidArgument(
            "layer",
            f"of values of shape {shape}",
            "positions that a floating-point input has too, in its last dimensions",
        )


def _shown(maps: Tensor, end: Tensor) -> Tensor:
    """The share of each element that is shown; it broadcasts to (examples, maps, *features)."""
    dims = maps.dim() - 2
    wide = maps.flatten(0, 1).unsqueeze(1).to(accumulator_dtype(maps.dtype))
    size = tuple(end.shape[end.dim() - dims :])
    large = interpolate(wide, size, mode=INTERPOLATIONS[dims], align_corners=False).flatten(1)
    low, high = large.amin(1, keepdim=True), large.amax(1, keepdim=True)
    scaled = torch.where(high > low, (large - low) / (high - low), 0)
    return scaled.view(*maps.shape[:2], *(1,) * (end.dim() - 1 - dims), *size)
