"""Grad-CAM at a layer."""

from __future__ import annotations

from typing import Any

from adcaptum.attr.facade.answer import explain, like_layer
from adcaptum.attr.facade.attribution import GradientAttribution, LayerAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import TargetType, Tensors
from adcaptum.attr.facade.path import check_grad_kwargs
from adcaptum.attr.facade.sites import site_of
from adcaptum.engine.methods.cam.grad_cam import GradCam


class LayerGradCam(LayerAttribution, GradientAttribution):
    """Grad-CAM; Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391."""

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors:
        """Attributes the target to the layer's positions, at the layer's resolution.

        Args:
            inputs: A tensor, or a tuple of them.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            attribute_to_layer_input: Whether to explain the layer's input, not its output.
            relu_attributions: Whether to keep only positive values, as in the paper.
            attr_dim_summation: Whether to sum channels, to (examples, 1, *positions).
            grad_kwargs: See `check_grad_kwargs`.
        """
        check_grad_kwargs(grad_kwargs)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
        )
        method = GradCam(relu=relu_attributions, sum_channels=attr_dim_summation)
        return like_layer(explain(call, method).values)
