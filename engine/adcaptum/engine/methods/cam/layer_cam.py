"""LayerCAM: each element of a layer, weighted by its own positive gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.cam.gradient_map import GradientMap
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class LayerCam(GradientMap):
    """Each element of a layer times its own gradient, where that is positive.

    Jiang, Zhang, Hou, Cheng, Wei (2021), https://doi.org/10.1109/TIP.2021.3089943: the map is
    relu(sum over the channels of relu(gradient) * value). It is made for early layers, too, where a
    channel's mean gradient says little. The values are at the layer's resolution, (examples, 1,
    *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="layer_cam",
        paper="https://doi.org/10.1109/TIP.2021.3089943",
        gradient=True,
        layer="required",
        held=2.0,
    )

    relu: bool = parameter(True, "Keep only what is positive in the map.")

    def parts(self, values: Tensor, gradients: Tensor) -> Tensor:
        """relu(gradient) * value."""
        return gradients.relu() * values
