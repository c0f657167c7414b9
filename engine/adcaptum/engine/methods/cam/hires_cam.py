"""HiResCAM: each element of a layer times its own gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.cam.gradient_map import GradientMap
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class HiResCam(GradientMap):
    """Each element of a layer times its own gradient, summed over the channels.

    Draelos, Carin (2020), https://arxiv.org/abs/2011.08891: the map is the sum over the channels of
    gradient * value. Where the rest of the model is affine, as global pooling and one linear layer
    are, the values sum to the target less what it is where the layer is zero. They are at the
    layer's resolution, (examples, 1, *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="hires_cam",
        paper="https://arxiv.org/abs/2011.08891",
        gradient=True,
        layer="required",
        held=2.0,
    )

    def parts(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Gradient * value."""
        return gradients * values
