"""Guided Grad-CAM: guided backpropagation, weighted by Grad-CAM."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from adcaptum.attr.cam.grad_cam import LayerGradCam
from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.attribution import GradientAttribution
from adcaptum.attr.facade.forms import TargetType, Tensors
from adcaptum.attr.gradients.rectified import GuidedBackprop
from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods.cam.enlarging import enlarged


class GuidedGradCam(GradientAttribution):
    """Guided backpropagation times Grad-CAM; Selvaraju et al. (2017), section 3.2.

    https://arxiv.org/abs/1610.02391
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(model)
        self.model = model
        self.grad_cam = LayerGradCam(model, layer, device_ids)
        self.guided_backprop = GuidedBackprop(model, strict=strict)

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Tensors:
        """Attributes the target to the inputs.

        Args:
            inputs: A tensor, or a tuple of them, (examples, channels, *sizes).
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            interpolate_mode: The interpolation from the layer's map to the inputs' sizes.
            attribute_to_layer_input: Whether to explain the layer's input, not its output.

        Returns:
            The contribution of each element. For an input to whose sizes the map cannot be
            enlarged: a tensor without elements, and a warning.
        """
        cam = self.grad_cam.attribute(
            inputs,
            target,
            additional_forward_args,
            attribute_to_layer_input=attribute_to_layer_input,
            relu_attributions=True,
        )
        if not isinstance(cam, Tensor):
            raise InvalidInput("layer", f"a module with {len(cam)} tensors", "one with one tensor")
        guided = self.guided_backprop.attribute(inputs, target, additional_forward_args)
        each = (guided,) if isinstance(guided, Tensor) else guided
        values = tuple(_multiplied(g, cam, interpolate_mode) for g in each)
        return values[0] if isinstance(inputs, Tensor) else values


def _multiplied(guided: Tensor, cam: Tensor, mode: str) -> Tensor:
    try:
        if cam.dim() < 3 or guided.dim() != cam.dim():
            raise InvalidInput(
                "layer", f"a map of shape {tuple(cam.shape)}", "one of as many sizes"
            )
        return guided * enlarged((cam,), guided, mode)
    except InvalidArgument:
        warnings.warn(
            f"the layer's map of shape {tuple(cam.shape)} cannot be enlarged to an input of shape "
            f"{tuple(guided.shape)}: its attribution is empty",
            stacklevel=3,
        )
        return guided.new_empty(0)
