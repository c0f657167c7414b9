"""Grad-CAM++: a layer's channels, weighted by where their gradients are positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.cam.gradient_map import GradientMap, over_positions
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GradCamPlusPlus(GradientMap):
    """Grad-CAM with a weight of each position in its channel's weight.

    Chattopadhay et al. (2018), https://arxiv.org/abs/1710.11063, equations 5, 10 and 19. The score
    is the exponential of the target, as there; its value, one factor for a whole map, is left out.
    The layer should be one after a ReLU. The values are at the layer's resolution,
    (examples, 1, *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="grad_cam_plus_plus",
        paper="https://arxiv.org/abs/1710.11063",
        gradient=True,
        layer="required",
        held=2.0,
    )

    relu: bool = parameter(True, "Keep only what is positive in the map.")

    def parts(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Equation 19, shortened by the squared gradient; zero where there is nothing to weigh."""
        below = 2 + over_positions(torch.sum, values) * gradients
        alphas = torch.where(below == 0, 0, 1 / below)
        return over_positions(torch.sum, alphas * gradients.relu()) * values
