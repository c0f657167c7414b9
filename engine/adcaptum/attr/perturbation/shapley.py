"""Shapley values, from samples of the features' orders or from all coalitions."""

from __future__ import annotations

import warnings

from torch.futures import Future

from adcaptum.attr.errors import translated
from adcaptum.attr.facade.attribution import PerturbationAttribution
from adcaptum.attr.facade.forms import BaselineType, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import check_samples, title
from adcaptum.attr.facade.perturbing.perturbation_call import PerturbationCall
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.methods.shapley import shapley_value_sampling, shapley_values

_MOST_FEATURES = 20
_MANY_FEATURES = 10


class ShapleyValueSampling(PerturbationAttribution):
    """Shapley values from samples: the mean gain of the output as features join in random order.

    Orders come in pairs, each with its reverse; where all coalitions take no more rows than that,
    the values are exact. The result has the output's shape, then the features': (examples, outputs,
    *features) where the forward gives several and no target is named.
    """

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Tensors:
        """Estimates the values from `n_samples` orders, rounded up to an even number."""
        check_samples(n_samples)
        call = _call(self, inputs, baselines, target, additional_forward_args, feature_mask)
        return call.attributions(
            shapley_value_sampling.ShapleyValueSampling(n_samples),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
            in_shape=True,
        )

    def attribute_future(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Future[Tensors]:
        """Explains a forward that gives a `torch.futures.Future` of its output."""
        check_samples(n_samples)
        call = _call(self, inputs, baselines, target, additional_forward_args, feature_mask)
        return call.attributions_later(
            shapley_value_sampling.ShapleyValueSampling(n_samples),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
            in_shape=True,
        )


class ShapleyValues(PerturbationAttribution):
    """Exact Shapley values: a feature's mean gain of the output over all coalitions of the others.

    The result's form is that of ShapleyValueSampling. At most 20 features, which take a million
    rows an example.
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
    ) -> Tensors:
        """Evaluates every coalition once."""
        call = _call(self, inputs, baselines, target, additional_forward_args, feature_mask)
        _warn_of_many(call)
        return call.attributions(
            shapley_values.ShapleyValues(_MOST_FEATURES),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
            in_shape=True,
        )

    def attribute_future(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,  # noqa: ARG002  # Captum's, which makes no use of it either
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Future[Tensors]:
        """Explains a forward that gives a `torch.futures.Future` of its output."""
        call = _call(self, inputs, baselines, target, additional_forward_args, feature_mask)
        _warn_of_many(call)
        return call.attributions_later(
            shapley_values.ShapleyValues(_MOST_FEATURES),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
            in_shape=True,
        )


def _call(
    attribution: PerturbationAttribution,
    inputs: Tensors,
    baselines: BaselineType,
    target: TargetType,
    additional_forward_args: object,
    feature_mask: Tensors | None,
) -> PerturbationCall:
    return PerturbationCall.of(
        attribution.forward_func,
        inputs,
        target=target,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=feature_mask,
    )


def _warn_of_many(call: PerturbationCall) -> None:
    with translated():
        features = feature_count(call.call.explicand)
    if features >= _MANY_FEATURES:
        warnings.warn(
            f"exact Shapley values of {features} features take {2**features} rows an example: "
            "group elements into fewer features, or take ShapleyValueSampling or KernelShap",
            stacklevel=3,
        )
