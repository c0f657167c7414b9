"""Grad-CAM++: a layer's channels, weighted by where their gradients are positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.cam.maps import (
    RELU_TEXT,
    RESHAPE_TEXT,
    SUM_TEXT,
    Maps,
    Reshape,
    over_positions,
)
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GradCamPlusPlus:
    """Grad-CAM in which each position has its own say in its channel's weight.

    Chattopadhay et al. (2018), https://arxiv.org/abs/1710.11063, equations 5, 10 and 19. The score
    is the exponential of the target, as there; its value, one factor for a whole map, is left out.
    The layer is meant to be one that a ReLU has passed. The values are at the layer's resolution,
    (examples, 1, *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="grad_cam_plus_plus",
        paper="https://arxiv.org/abs/1710.11063",
        gradient=True,
        layer="required",
    )

    relu: bool = parameter(True, RELU_TEXT)
    sum_channels: bool = parameter(True, SUM_TEXT)
    reshape: Reshape = parameter("none", RESHAPE_TEXT)

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If no layer is named, or it does not have the form that `reshape` says.
        """
        maps = Maps(self.relu, self.sum_channels, self.reshape)
        return (yield from maps.explained(explicand, _parts))

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count


def _parts(values: Tensor, gradients: Tensor) -> Tensor:
    # Equation 19, shortened by the squared gradient; where that is zero there is nothing to weigh.
    below = 2 + over_positions(torch.sum, values) * gradients
    alphas = torch.where(below == 0, 0, 1 / below)
    return over_positions(torch.sum, alphas * gradients.relu()) * values
