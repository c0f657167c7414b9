"""LayerCAM: each element of a layer, weighted by its own positive gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.cam.maps import RELU_TEXT, RESHAPE_TEXT, SUM_TEXT, Maps, Reshape
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class LayerCam:
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
    return gradients.relu() * values
