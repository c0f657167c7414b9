"""DeepLIFT and DeepLIFT SHAP, at the inputs, at layers and for neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from adcaptum.attr.backward_rules.differences import Differences, Distribution
from adcaptum.attr.facade.answer import like_inputs, like_layer
from adcaptum.attr.facade.attribution import (
    Attribution,
    GradientAttribution,
    InternalAttribution,
    LayerAttribution,
    NeuronAttribution,
)
from adcaptum.attr.facade.baselines import baselines_of
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Selector, TargetType, Tensors
from adcaptum.attr.facade.path import check_grad_kwargs
from adcaptum.attr.facade.sites import neuron_of, site_of
from adcaptum.engine.rules.deep_lift.named import DifferenceRule
from adcaptum.engine.vocabulary.evaluation import INPUT

CustomFunction = Callable[..., tuple[Tensor, ...]]


class _Differing(Attribution):
    """Options of the six DeepLIFT classes.

    Attributes:
        eps: Accepted for compatibility and ignored: the threshold is relative to the values.
    """

    def __init__(
        self,
        multiply_by_inputs: bool,
        rule: DifferenceRule,
        strict: bool,
        eps: float = 1e-10,
    ) -> None:
        self.eps = eps
        self._differences = Differences(multiply_by_inputs, rule, strict)

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._differences.multiply_by_inputs


class _DifferingInside(_Differing, InternalAttribution):
    """Options of the DeepLIFT classes for a layer."""

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module,
        multiply_by_inputs: bool = True,
        *,
        rule: DifferenceRule = "rescale",
        strict: bool = False,
    ) -> None:
        InternalAttribution.__init__(self, model, layer)
        _Differing.__init__(self, multiply_by_inputs, rule, strict)
        self.model = model


class DeepLift(_Differing, GradientAttribution):
    """DeepLIFT; Shrikumar et al. (2017), https://arxiv.org/abs/1704.02685.

    The rules act on the model's operations, as modules or as functions. Operations without a rule
    cause a warning, or an error with `strict`.
    """

    def __init__(
        self,
        model: nn.Module,
        multiply_by_inputs: bool = True,
        eps: float = 1e-10,
        *,
        rule: DifferenceRule = "rescale",
        strict: bool = False,
    ) -> None:
        GradientAttribution.__init__(self, model)
        _Differing.__init__(self, multiply_by_inputs, rule, strict, eps)
        self.model = model

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomFunction | None = None,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target's difference from the baseline to the inputs.

        Args:
            inputs: A tensor, or a tuple of them.
            baselines: The references: numbers, or tensors of one row or one per example.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            return_convergence_delta: Whether to return what the attributions sum to, less the
                output's difference, (examples,), too.
            custom_attribution_func: Makes attributions of the multipliers, the inputs and the
                baselines, tuples each; it may take one, two or all three.
        """
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
        )
        values, delta = self._differences.of(
            call, custom_attribution_func, with_delta=return_convergence_delta
        )
        answer = like_inputs(call, values)
        return answer if delta is None else (answer, delta)


class DeepLiftShap(_Differing, GradientAttribution):
    """DeepLIFT's mean over a distribution of baselines; Lundberg, Lee (2017), section 4.2."""

    def __init__(
        self,
        model: nn.Module,
        multiply_by_inputs: bool = True,
        *,
        rule: DifferenceRule = "rescale",
        strict: bool = False,
    ) -> None:
        GradientAttribution.__init__(self, model)
        _Differing.__init__(self, multiply_by_inputs, rule, strict)
        self.model = model

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: Distribution,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: CustomFunction | None = None,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target's mean difference from the baselines to the inputs.

        As DeepLift's; the baselines are tensors of any number of rows, or a function of the inputs
        or of nothing that makes them, and deltas are those of the pairs, (examples * baselines,).
        """
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines_of(baselines, inputs),
            additional_forward_args=additional_forward_args,
            distribution=True,
        )
        values, delta = self._differences.mean(
            call, custom_attribution_func, with_delta=return_convergence_delta
        )
        answer = like_inputs(call, values)
        return answer if delta is None else (answer, delta)


class LayerDeepLift(_DifferingInside, LayerAttribution, GradientAttribution):
    """DeepLIFT at a layer."""

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomFunction | None = None,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target's difference to the layer; the arguments are DeepLift's."""
        check_grad_kwargs(grad_kwargs)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
        )
        values, delta = self._differences.of(
            call, custom_attribution_func, with_delta=return_convergence_delta
        )
        answer = like_layer(values)
        return answer if delta is None else (answer, delta)


class LayerDeepLiftShap(_DifferingInside, LayerAttribution, GradientAttribution):
    """DeepLIFT SHAP at a layer."""

    def has_convergence_delta(self) -> bool:
        return True

    def attribute(
        self,
        inputs: Tensors,
        baselines: Distribution,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomFunction | None = None,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Attributes the target's mean difference to the layer; for arguments see DeepLiftShap."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines_of(baselines, inputs),
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
            distribution=True,
        )
        values, delta = self._differences.mean(
            call, custom_attribution_func, with_delta=return_convergence_delta
        )
        answer = like_layer(values)
        return answer if delta is None else (answer, delta)


class NeuronDeepLift(_DifferingInside, NeuronAttribution, GradientAttribution):
    """DeepLIFT of a neuron."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: BaselineType = None,
        additional_forward_args: object = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomFunction | None = None,
    ) -> Tensors:
        """Attributes a neuron's difference from the baseline to the inputs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input),
            baselines=baselines,
            additional_forward_args=additional_forward_args,
        )
        values, _ = self._differences.of(call, custom_attribution_func)
        return like_inputs(call, values)


class NeuronDeepLiftShap(_DifferingInside, NeuronAttribution, GradientAttribution):
    """DeepLIFT SHAP of a neuron."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: Distribution,
        additional_forward_args: object = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: CustomFunction | None = None,
    ) -> Tensors:
        """Attributes a neuron's mean difference from the baselines to the inputs."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input),
            baselines=baselines_of(baselines, inputs),
            additional_forward_args=additional_forward_args,
            at=INPUT,
            distribution=True,
        )
        values, _ = self._differences.mean(call, custom_attribution_func, with_delta=False)
        return like_inputs(call, values)
