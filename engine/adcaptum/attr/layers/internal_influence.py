"""Internal influence: a layer's gradients, averaged along a path of the inputs."""

from __future__ import annotations

from typing import Any

from adcaptum.attr.facade.answer import explain, like_layer
from adcaptum.attr.facade.attribution import GradientAttribution, LayerAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, TargetType, Tensors
from adcaptum.attr.facade.path import check_grad_kwargs, checked_rule
from adcaptum.attr.facade.sites import site_of
from adcaptum.engine.methods.layers import internal_influence as engine


class InternalInfluence(LayerAttribution, GradientAttribution):
    """Internal influence; Leino et al. (2018), https://arxiv.org/abs/1802.03788."""

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors:
        """Attributes the target to the layer, along the path from the baselines to the inputs."""
        check_grad_kwargs(grad_kwargs)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
        )
        influence = engine.InternalInfluence(n_steps, checked_rule(method, n_steps))
        return like_layer(explain(call, influence, batch_rows=internal_batch_size).values)
