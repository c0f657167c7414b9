"""Input times gradient, at the inputs and at layers."""

from __future__ import annotations

from typing import Any

from adcaptum.attr.facade.answer import explain, like_inputs
from adcaptum.attr.facade.attribution import GradientAttribution, LayerAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Forward, Layers, TargetType, Tensors
from adcaptum.attr.facade.layers import at_layers
from adcaptum.attr.facade.path import check_grad_kwargs
from adcaptum.engine.methods.gradients import input_x_gradient as engine
from adcaptum.engine.methods.gradients.saliency import Saliency
from adcaptum.engine.vocabulary.evaluation import Site


class InputXGradient(GradientAttribution):
    """Input times gradient; Shrikumar et al. (2016), https://arxiv.org/abs/1605.01713."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
    ) -> Tensors:
        """Attributes the target to the inputs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
        )
        return like_inputs(call, explain(call, engine.InputXGradient()).values)


class LayerGradientXActivation(LayerAttribution, GradientAttribution):
    """A layer's values times the target's gradient with respect to them.

    Attributes:
        memory_efficient: Accepted for compatibility and ignored: memory is that of one batch.
    """

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self.memory_efficient = memory_efficient
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors | list[Tensors]:
        """Attributes the target to the layer; of a list of layers, to each."""
        check_grad_kwargs(grad_kwargs)

        def values(at: Site) -> tuple[Any, ...]:
            call = CaptumCall.of(
                self.forward_func,
                inputs,
                target=target,
                additional_forward_args=additional_forward_args,
                at=at,
            )
            by_values = self._multiply_by_inputs
            method = engine.InputXGradient() if by_values else Saliency(abs=False)
            return explain(call, method).values

        return at_layers(self.layer, values, of_input=attribute_to_layer_input)
