"""Guided Grad-CAM: guided backpropagation times the Grad-CAM map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from adcaptum.engine.methods.cam.activation_map import RESHAPE_TEXT, Reshape, check_layer
from adcaptum.engine.methods.cam.enlarging import Enlarging, enlarged
from adcaptum.engine.methods.cam.grad_cam import GradCam
from adcaptum.engine.methods.gradients.guided_backprop import GuidedBackprop
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, both
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class GuidedGradCam:
    """Guided backpropagation, multiplied by a layer's positive Grad-CAM map.

    Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391, section 3.2. The map, at the layer's
    resolution, is enlarged to that of the inputs; the values are the inputs'.
    """

    traits: ClassVar[Traits] = Traits(
        name="guided_grad_cam",
        paper="https://arxiv.org/abs/1610.02391",
        gradient=True,
        operations=True,
        layer="through",
    )

    enlarging: Enlarging = parameter(
        "nearest", "Enlargement of the map: the nearest of its values, or linear between them."
    )
    reshape: Reshape = parameter("none", RESHAPE_TEXT)
    strict: bool = parameter(
        False, "Refuse a model with non-linearities other than ReLU, instead of listing them."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If no layer is named, it has not one tensor of the form that `reshape`
                says, or its map cannot be enlarged to an input.
        """
        check_layer(explicand)
        at_inputs = replace(explicand, at=INPUT, values=None, starts=None)
        cam, guided = yield from both(
            GradCam(relu=True, reshape=self.reshape).flow(explicand),
            GuidedBackprop(self.strict).flow(at_inputs),
        )
        values = tuple(g * enlarged(cam.values, g, self.enlarging) for g in guided.values)
        return replace(guided, values=values)

    def rows(self, explicand: Explicand) -> int:
        """A gradient row at the layer and one at the inputs, each example."""
        return 2 * explicand.count
