"""A layer's map at the resolution of an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods.cam.highlights import INTERPOLATIONS

Enlarging = Literal["nearest", "linear"]


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
        mode = INTERPOLATIONS.get(positions, enlarging) if enlarging == "linear" else enlarging
        try:
            cam = functional.interpolate(cam, tuple(like.shape[1 + others :]), mode=mode)
        except (ValueError, NotImplementedError) as error:
            raise InvalidArgument("enlarging", repr(enlarging), str(error)) from error
    return cam.view(len(cam), *(1,) * others, *cam.shape[2:])
