"""HiResCAM: each element of a layer times its own gradient."""

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
class HiResCam:
    """Each element of a layer times its own gradient, summed over the channels.

    Draelos, Carin (2020), https://arxiv.org/abs/2011.08891: the map is the sum over the channels of
    gradient * value. Where the rest of the model is affine, as global pooling and one linear layer
    are, the values sum to the target less what it is where the layer is zero. They are at the
    layer's resolution, (examples, 1, *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="hires_cam", paper="https://arxiv.org/abs/2011.08891", gradient=True, layer="required"
    )

    relu: bool = parameter(False, RELU_TEXT)
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
    return gradients * values
