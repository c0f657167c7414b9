"""Guided backpropagation and deconvolution, for outputs and for neurons."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from adcaptum.attr.facade.answer import explain, like_inputs
from adcaptum.attr.facade.attribution import GradientAttribution, NeuronAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Selector, TargetType, Tensors
from adcaptum.attr.facade.sites import neuron_of
from adcaptum.engine.methods.gradients import deconvolution, guided_backprop

Rectifier = type[guided_backprop.GuidedBackprop | deconvolution.Deconvolution]


class _Rectified(GradientAttribution):
    """A gradient with another rule for ReLUs, as modules or as functions."""

    _method: ClassVar[Rectifier]

    def __init__(self, model: nn.Module, *, strict: bool = False) -> None:
        super().__init__(model)
        self.model = model
        self.strict = strict

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
        return like_inputs(call, explain(call, self._method(self.strict)).values)


class GuidedBackprop(_Rectified):
    """Guided backpropagation; Springenberg et al. (2014), https://arxiv.org/abs/1412.6806."""

    _method = guided_backprop.GuidedBackprop


class Deconvolution(_Rectified):
    """Deconvolution; Zeiler, Fergus (2014), https://arxiv.org/abs/1311.2901."""

    _method = deconvolution.Deconvolution


class _NeuronRectified(NeuronAttribution, GradientAttribution):
    _method: ClassVar[Rectifier]

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(model, layer, device_ids)
        self.strict = strict

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
        return like_inputs(call, explain(call, self._method(self.strict)).values)


class NeuronGuidedBackprop(_NeuronRectified):
    """Guided backpropagation of a neuron."""

    _method = guided_backprop.GuidedBackprop


class NeuronDeconvolution(_NeuronRectified):
    """Deconvolution of a neuron."""

    _method = deconvolution.Deconvolution
