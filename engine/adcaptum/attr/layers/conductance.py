"""Conductance, of a layer's neurons and through one neuron."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from torch import Tensor

from adcaptum.attr.facade.answer import convergence_delta, explain, like_inputs, like_layer
from adcaptum.attr.facade.attribution import (
    GradientAttribution,
    LayerAttribution,
    NeuronAttribution,
)
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.completeness import warn_of_incompleteness
from adcaptum.attr.facade.forms import BaselineType, Selector, TargetType, Tensors
from adcaptum.attr.facade.multiplying import MultiplyingInside
from adcaptum.attr.facade.path import check_grad_kwargs, checked_rule
from adcaptum.attr.facade.sites import neuron_of, site_of
from adcaptum.engine.methods.layers.conductance import Conductance
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients


class LayerConductance(LayerAttribution, GradientAttribution):
    """Conductance; Dhamdhere et al. (2018), https://arxiv.org/abs/1805.12233."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target to the layer, along the path from the baselines to the inputs.

        Args:
            inputs: A tensor, or a tuple of them.
            baselines: The start of the path, in the inputs' space.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            n_steps: Steps of the path: differences between n_steps + 1 points.
            method: The quadrature rule.
            internal_batch_size: The most rows of a batch; any number.
            return_convergence_delta: Whether to return, too, the sum of the attributions less the
                output's difference to the baseline, (examples,).
            attribute_to_layer_input: Whether to explain the layer's input, not its output.
            grad_kwargs: See `check_grad_kwargs`.
        """
        check_grad_kwargs(grad_kwargs)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
            with_error=return_convergence_delta,
        )
        conductance = Conductance(n_steps, checked_rule(method, n_steps))
        answer = explain(call, conductance, batch_rows=internal_batch_size)
        values = like_layer(answer.values)
        if not return_convergence_delta:
            return values
        delta = convergence_delta(answer)
        name = self.get_name()
        warn_of_incompleteness(name, answer.values, delta, n_steps=n_steps, layer=True)
        return values, delta


class NeuronConductance(MultiplyingInside, NeuronAttribution):
    """The inputs' integrated gradients that flow through a neuron; Dhamdhere et al. (2018)."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors:
        """Attributes to the inputs the part of the target that flows through the neuron.

        A block of neurons, a selector with slices, has the sum of its neurons' conductances. A
        function chooses or adds up neurons of each row.
        """
        check_grad_kwargs(grad_kwargs)
        if callable(neuron_selector):
            warnings.warn(
                "The neuron_selector provided is a callable. It has to choose a neuron of each "
                "row, not to compute with several.",
                stacklevel=2,
            )
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
        )
        neuron = neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input)
        through = replace(call, explicand=replace(call.explicand, through=neuron))
        rule = checked_rule(method, n_steps)
        integrated = IntegratedGradients(n_steps, rule, self._multiply_by_inputs)
        answer = explain(through, integrated, batch_rows=internal_batch_size)
        return like_inputs(call, answer.values)
