"""Shapley values, from samples of the features' orders or from all coalitions."""

from __future__ import annotations

import warnings

from torch.futures import Future

from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.attribution import PerturbationAttribution
from adcaptum.attr.facade.captum_call import BaselineType, CaptumCall, TargetType, Tensors
from adcaptum.attr.facade.perturbation import (
    check_samples,
    perturbed,
    perturbed_later,
    title,
)
from adcaptum.engine.execution.forwards.futures import following
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.methods.shapley import shapley_value_sampling, shapley_values
from adcaptum.engine.vocabulary.method import Method

_MOST_FEATURES = 20
_MANY_FEATURES = 10


class ShapleyValueSampling(PerturbationAttribution):
    """What a feature adds to the output, on average over random orders in which features join.

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
        question = _question(self, inputs, baselines, target, additional_forward_args, feature_mask)
        answer = perturbed(
            question,
            shapley_value_sampling.ShapleyValueSampling(n_samples),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )
        return like_inputs(question, answer.in_shape)

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
        """The same of a forward that gives a `torch.futures.Future` of its output."""
        check_samples(n_samples)
        question = _question(self, inputs, baselines, target, additional_forward_args, feature_mask)
        method = shapley_value_sampling.ShapleyValueSampling(n_samples)
        return _later(question, method, perturbations_per_eval, title(self, show_progress))


class ShapleyValues(PerturbationAttribution):
    """What a feature adds to the output, averaged over all coalitions of the others, exactly.

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
        question = _question(self, inputs, baselines, target, additional_forward_args, feature_mask)
        _warn_of_many(question)
        answer = perturbed(
            question,
            shapley_values.ShapleyValues(_MOST_FEATURES),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )
        return like_inputs(question, answer.in_shape)

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
        """The same of a forward that gives a `torch.futures.Future` of its output."""
        question = _question(self, inputs, baselines, target, additional_forward_args, feature_mask)
        _warn_of_many(question)
        method = shapley_values.ShapleyValues(_MOST_FEATURES)
        return _later(question, method, perturbations_per_eval, title(self, show_progress))


def _question(
    attribution: PerturbationAttribution,
    inputs: Tensors,
    baselines: BaselineType,
    target: TargetType,
    additional_forward_args: object,
    feature_mask: Tensors | None,
) -> CaptumCall:
    return CaptumCall.of(
        attribution.forward_func,
        inputs,
        target=target,
        baselines=baselines,
        additional_forward_args=additional_forward_args,
        feature_mask=feature_mask,
        every_output=True,
    )


def _later(
    question: CaptumCall, method: Method, per_eval: int, progress: str | None
) -> Future[Tensors]:
    answer = perturbed_later(question, method, per_eval=per_eval, progress=progress)
    return following(answer, lambda found: like_inputs(question, found.in_shape))


def _warn_of_many(question: CaptumCall) -> None:
    features = feature_count(question.explicand)
    if features >= _MANY_FEATURES:
        warnings.warn(
            f"exact Shapley values of {features} features take {2**features} rows an example: "
            "group elements into fewer features, or take ShapleyValueSampling or KernelShap",
            stacklevel=3,
        )
