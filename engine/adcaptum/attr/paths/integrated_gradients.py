"""Integrated gradients, at the inputs, at layers and for neurons."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from torch import Tensor

from adcaptum.attr.facade.answer import convergence_delta, explain, like_inputs, like_layer
from adcaptum.attr.facade.attribution import LayerAttribution, NeuronAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.completeness import warn_of_incompleteness
from adcaptum.attr.facade.forms import BaselineType, Forward, Layers, Selector, TargetType, Tensors
from adcaptum.attr.facade.layers import divided
from adcaptum.attr.facade.multiplying import Multiplying, MultiplyingInside
from adcaptum.attr.facade.path import check_grad_kwargs, checked_rule
from adcaptum.attr.facade.sites import neuron_of, site_of
from adcaptum.engine.methods.layers.activation import Activation
from adcaptum.engine.methods.paths import integrated_gradients as engine
from adcaptum.engine.vocabulary.evaluation import Site


class IntegratedGradients(Multiplying):
    """Integrated gradients; Sundararajan et al. (2017), https://arxiv.org/abs/1703.01365."""

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
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target to the inputs.

        Args:
            inputs: A tensor, or a tuple of them.
            baselines: The start of the path: numbers, or tensors of one row or as many as inputs.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            n_steps: The number of points on the path.
            method: The quadrature rule.
            internal_batch_size: The most rows of a batch.
            return_convergence_delta: Whether to return, too, the sum of the attributions less the
                output's difference to the baseline, (examples,).
        """
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            with_error=return_convergence_delta,
        )
        rule = checked_rule(method, n_steps)
        integrated = engine.IntegratedGradients(n_steps, rule, self._multiply_by_inputs)
        answer = explain(call, integrated, batch_rows=internal_batch_size)
        values = like_inputs(call, answer.values)
        if not return_convergence_delta:
            return values
        delta = convergence_delta(answer)
        if self._multiply_by_inputs:
            warn_of_incompleteness(self.get_name(), answer.values, delta, n_steps=n_steps)
        return values, delta


class LayerIntegratedGradients(MultiplyingInside, LayerAttribution):
    """Integrated gradients on the line between a layer's values at baseline and input.

    Inputs may be token ids, explained at an embedding. Several layers are explained together, along
    one path; none may depend on another.
    """

    def __init__(
        self,
        forward_func: Forward,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, multiply_by_inputs)
        if isinstance(layer, list) and len(layer) > 1:
            warnings.warn(
                "Multiple layers provided. Please ensure that none of them depends on the outputs "
                "of another: their values are replaced together.",
                stacklevel=2,
            )

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
    ) -> Tensors | list[Tensors] | tuple[Tensors | list[Tensors], Tensor]:
        """Attributes the target to the layer; the arguments are those of IntegratedGradients.

        Where the output also depends on the inputs by other paths than the layer, their share is
        in the delta.
        """
        check_grad_kwargs(grad_kwargs)
        rule = checked_rule(method, n_steps)
        integrated = engine.IntegratedGradients(n_steps, rule, self._multiply_by_inputs)
        at = site_of(self.layer, of_input=attribute_to_layer_input)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            at=at,
        )
        answer = explain(call, integrated, batch_rows=internal_batch_size)

        def tensors(at: Site) -> int:
            explicand = replace(call.explicand, at=at)
            return len(explain(replace(call, explicand=explicand), Activation()).values)

        found: Tensors | list[Tensors]
        if isinstance(self.layer, list):
            found = divided(self.layer, answer.values, tensors, of_input=attribute_to_layer_input)
        else:
            found = like_layer(answer.values)
        if not return_convergence_delta:
            return found
        delta = self.compute_convergence_delta(
            answer.values, baselines, inputs, target, additional_forward_args
        )
        if self._multiply_by_inputs:
            name = self.get_name()
            warn_of_incompleteness(name, answer.values, delta, n_steps=n_steps, layer=True)
        return found, delta


class NeuronIntegratedGradients(MultiplyingInside, NeuronAttribution):
    """Integrated gradients of a neuron."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: BaselineType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Tensors:
        """Attributes a neuron to the inputs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input),
            baselines=baselines,
            additional_forward_args=additional_forward_args,
        )
        rule = checked_rule(method, n_steps)
        integrated = engine.IntegratedGradients(n_steps, rule, self._multiply_by_inputs)
        answer = explain(call, integrated, batch_rows=internal_batch_size)
        return like_inputs(call, answer.values)
