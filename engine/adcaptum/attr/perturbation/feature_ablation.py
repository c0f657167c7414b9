"""Feature ablation at the inputs, at a layer, of a neuron."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.futures import Future

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs, like_layer
from adcaptum.attr.facade.attribution import (
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Selector, TargetType, Tensors
from adcaptum.attr.facade.layers import activations
from adcaptum.attr.facade.masks import like_values
from adcaptum.attr.facade.perturbing.options import title, warn_of_ignored
from adcaptum.attr.facade.perturbing.perturbation import perturbed
from adcaptum.attr.facade.perturbing.perturbation_call import PerturbationCall
from adcaptum.attr.facade.sites import neuron_of, site_of
from adcaptum.engine.methods.perturbation import feature_ablation


class FeatureAblation(PerturbationAttribution):
    """The loss of the output when a feature is at its baseline.

    The result has a row for each number of the output: (examples, *features) where the forward
    gives one per example, (examples * outputs, *features) where it gives several and no target is
    named, (1, *features) where it gives one for the batch. See
    `facade/perturbing/perturbation.py` for forwards that answer for the batch and for
    perturbations_per_eval, `facade/perturbing/unaligned.py` for inputs that do not have a row for
    each example.
    """

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: object,
    ) -> Tensors:
        """Ablates each feature in turn; further keyword arguments are ignored."""
        warn_of_ignored(self, kwargs)
        call = self._call(inputs, baselines, target, additional_forward_args, feature_mask)
        return call.attributions(
            feature_ablation.FeatureAblation(),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )

    def attribute_future(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: object,
    ) -> Future[Tensors]:
        """Explains a forward that gives a `torch.futures.Future` of its output."""
        warn_of_ignored(self, kwargs)
        call = self._call(inputs, baselines, target, additional_forward_args, feature_mask)
        return call.attributions_later(
            feature_ablation.FeatureAblation(),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )

    def _call(
        self,
        inputs: Tensors,
        baselines: BaselineType,
        target: TargetType,
        additional_forward_args: object,
        feature_mask: Tensors | None,
    ) -> PerturbationCall:
        return PerturbationCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
        )


class LayerFeatureAblation(LayerAttribution, PerturbationAttribution):
    """The loss of the output when a feature of a layer is at its baseline.

    Masks and baselines are those of the layer's values, one per tensor there.
    """

    def attribute(
        self,
        inputs: Tensors,
        layer_baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        layer_mask: Tensors | None = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Tensors:
        """Ablates each feature of the layer in turn."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            at=site_of(self.module, of_input=attribute_to_layer_input),
            every_output=True,
        )
        values = activations(call)
        explicand = replace(
            call.explicand,
            values=values,
            starts=_starts(layer_baselines, values),
            feature_mask=like_values(layer_mask, values),
        )
        answer = perturbed(
            replace(call, explicand=explicand),
            feature_ablation.FeatureAblation(),
            per_eval=perturbations_per_eval,
        )
        return like_layer(answer.values)


class NeuronFeatureAblation(NeuronAttribution, PerturbationAttribution):
    """The loss of a neuron's value when a feature of the inputs is at its baseline."""

    def attribute(
        self,
        inputs: Tensors,
        neuron_selector: Selector,
        baselines: BaselineType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Tensors:
        """Ablates each feature of the inputs in turn."""
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=neuron_of(self.module, neuron_selector, of_input=attribute_to_neuron_input),
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
        )
        answer = perturbed(
            call, feature_ablation.FeatureAblation(), per_eval=perturbations_per_eval
        )
        return like_inputs(call, answer.values)


def _starts(baselines: BaselineType, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Returns the layer's baselines, one for each of its tensors."""
    if baselines is None:
        return tuple(t.new_zeros(()) for t in values)
    each = baselines if isinstance(baselines, tuple) else (baselines,)
    if len(each) != len(values):
        raise InvalidInput(
            "layer_baselines", f"{len(each)} of them", f"one per tensor of the layer: {len(values)}"
        )
    return tuple(
        _start(f"layer_baselines[{i}]", b, t)
        for i, (b, t) in enumerate(zip(each, values, strict=True))
    )


def _start(name: str, baseline: object, like: Tensor) -> Tensor:
    """Returns a layer's baseline: a number, or a tensor of as many dimensions as the layer's."""
    if not isinstance(baseline, Tensor | int | float):
        raise InvalidInput(name, type(baseline), "a torch.Tensor or number")
    if not isinstance(baseline, Tensor):
        return like.new_full((), baseline)
    missing = like.dim() - baseline.dim() if baseline.dim() else 0
    return baseline.detach()[(None,) * max(missing, 0)]
