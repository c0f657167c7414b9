"""Grad-CAM: a layer's channels, weighted by their mean gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.cam.maps import RESHAPE_TEXT, SUM_TEXT, Maps, Reshape, over_positions
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GradCam:
    """A layer's channels, each weighted by the target's gradient averaged over the positions.

    Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391, equations 1 and 2. The values are at
    the layer's resolution, (examples, 1, *positions). Of a layer without positions the gradient
    itself is the weight.
    """

    traits: ClassVar[Traits] = Traits(
        name="grad_cam", paper="https://arxiv.org/abs/1610.02391", gradient=True, layer="required"
    )

    relu: bool = parameter(
        False, "Keep only what is positive, as the paper does; not by default, as in Captum."
    )
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
    return over_positions(torch.mean, gradients) * values
