"""Saliency, and the gradient of a neuron."""

from __future__ import annotations

from adcaptum.attr.facade.answer import explain, like_inputs
from adcaptum.attr.facade.attribution import GradientAttribution, NeuronAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Selector, TargetType, Tensors
from adcaptum.attr.facade.sites import neuron_of
from adcaptum.engine.methods.gradients import saliency as engine


class Saliency(GradientAttribution):
    """The gradient's magnitude; Simonyan et al. (2013), https://arxiv.org/abs/1312.6034."""

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        abs: bool = True,  # noqa: A002  # Captum's name
        additional_forward_args: object = None,
    ) -> Tensors:
        """Attributes the target to the inputs; without `abs` gradients keep their signs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
        )
        return like_inputs(call, explain(call, engine.Saliency(abs)).values)


class NeuronGradient(NeuronAttribution, GradientAttribution):
    """The gradient of a neuron with respect to the inputs."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        additional_forward_args: object = None,
        attribute_to_neuron_input: bool = False,
    ) -> Tensors:
        """Attributes a neuron to the inputs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input),
            additional_forward_args=additional_forward_args,
        )
        return like_inputs(call, explain(call, engine.Saliency(abs=False)).values)
