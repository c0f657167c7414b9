"""Grad-CAM: a layer's channels, weighted by their mean gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.cam.gradient_map import GradientMap, over_positions
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GradCam(GradientMap):
    """A layer's channels, each weighted by the target's gradient averaged over the positions.

    Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391, equations 1 and 2. The values are at
    the layer's resolution, (examples, 1, *positions). Of a layer without positions the gradient
    itself is the weight.
    """

    traits: ClassVar[Traits] = Traits(
        name="grad_cam",
        paper="https://arxiv.org/abs/1610.02391",
        gradient=True,
        layer="required",
        held=2.0,
    )

    relu: bool = parameter(
        False, "Keep only what is positive, as the paper does; not by default, as in Captum."
    )

    def parts(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Mean over the positions of gradient, times value."""
        return over_positions(torch.mean, gradients) * values
