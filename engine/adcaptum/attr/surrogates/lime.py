"""Lime."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import check_samples, title
from adcaptum.attr.facade.perturbing.output_form import output_form
from adcaptum.attr.facade.perturbing.perturbation import Perturbed, perturbed
from adcaptum.attr.surrogates.interpretable import coefficients_of, example, spread
from adcaptum.attr.surrogates.lime_base import LimeBase, Perturb, Similarity
from adcaptum.attr.surrogates.lime_functions import (
    ExponentialSimilarity,
    default_from_interp_rep_transform,
    default_perturb_func,
    every_coalition,
    get_exp_kernel_similarity_function,
    interpretable_masks,
)
from adcaptum.attr.surrogates.linear_models import Model, PenalisedRegression
from adcaptum.engine.methods.surrogates import lime
from adcaptum.engine.methods.surrogates.similarity import ExponentialKernel
from adcaptum.engine.vocabulary.evaluation import Output

_MANY_FEATURES = 10_000


class Lime(LimeBase):
    """Lime with features that are present or at their baselines.

    By default the surrogate is a lasso that is solved exactly, for all examples at once, whose
    penalty is relative to the spread of the outputs (0.001 of their standard deviation): outputs
    that are small, such as probabilities, are explained like large ones. With an interpretable
    model, a similarity or a perturbation of the caller's a surrogate is fitted for each example in
    turn, with that model's own scale.
    """

    def __init__(
        self,
        forward_func: Forward,
        interpretable_model: Model | None = None,
        similarity_func: Similarity | None = None,
        perturb_func: Perturb | None = None,
    ) -> None:
        similarity = similarity_func or get_exp_kernel_similarity_function()
        super().__init__(
            forward_func,
            interpretable_model or PenalisedRegression(),
            similarity,
            perturb_func or default_perturb_func,
            True,
            default_from_interp_rep_transform,
            None,
        )
        own = interpretable_model is not None or perturb_func is not None
        self._kernel = None if own or not _known(similarity) else similarity

    def attribute(  # type: ignore[override] # Captum's signatures differ so
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Tensors:
        """Fits a surrogate for each example, or one if the forward answers for the batch.

        Args:
            inputs: A tensor or a tuple of tensors.
            baselines: The values of features that are absent.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            feature_mask: The feature of each element.
            n_samples: The number of perturbed inputs for each example. If all coalitions fit,
                each is evaluated once.
            perturbations_per_eval: See `adcaptum.attr.facade.perturbing.perturbation`.
            return_input_shape: Whether each element gets its feature's coefficient. Else the result
                is (examples, features), features being the mask's numbers from the smallest.
            show_progress: Whether to draw a bar.
        """
        check_samples(n_samples)
        call = CaptumCall.of(
            self.forward_func,
            inputs,
            target=target,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            feature_mask=feature_mask,
            every_output=True,
        )
        masks, features = interpretable_masks(call)
        if features > _MANY_FEATURES:
            warnings.warn(
                f"a surrogate of {features} features takes long and much memory: group elements "
                "into fewer features by a feature_mask",
                stacklevel=2,
            )
        if self._kernel is None:
            coefficients = self._of_each(
                call, masks, features, n_samples, perturbations_per_eval, show_progress
            )
            values = spread(coefficients, masks, call)
        else:
            answer = self._of_all(call, n_samples, perturbations_per_eval, show_progress)
            values = answer.values
            coefficients = coefficients_of(values, masks, features)
        return like_inputs(call, values) if return_input_shape else coefficients

    def _source(
        self, inputs: Tensors, n_samples: int, kwargs: dict[str, Any]
    ) -> tuple[Iterator[Any], int]:
        """Returns every coalition once, if they are no more than the samples."""
        features = kwargs["num_interp_features"]
        if self.perturb_func is not default_perturb_func or 2**features > n_samples:
            return super()._source(inputs, n_samples, kwargs)
        device = (inputs if isinstance(inputs, Tensor) else inputs[0]).device
        return every_coalition(features, device), 2**features

    def _of_all(
        self, call: CaptumCall, n_samples: int, per_eval: int, show_progress: bool
    ) -> Perturbed:
        kernel = self._kernel
        assert isinstance(kernel, ExponentialSimilarity), "else each example is fitted in turn"
        distance, width = kernel.distance_mode, kernel.kernel_width
        answer = perturbed(
            call,
            lime.Lime(n_samples, distance=distance, kernel_width=width),
            per_eval=per_eval,
            progress=title(self, show_progress),
            of_whole=_OfWhole(n_samples, distance=distance, kernel_width=width),
        )
        check_one_number(answer, call)
        if not torch.cat([v.flatten(1) for v in answer.values], 1).any(1).all():
            warnings.warn(
                "the surrogate gives zero to every feature: the outputs at the samples do not "
                "depend on them, or n_samples is too small",
                stacklevel=3,
            )
        return answer

    def _of_each(
        self,
        call: CaptumCall,
        masks: tuple[Tensor, ...],
        features: int,
        n_samples: int,
        per_eval: int,
        show_progress: bool,
    ) -> Tensor:
        """Returns the coefficients of each example's surrogate, or of the one for all."""
        count = call.explicand.count
        whole = output_form(call)
        outputs = whole.outputs
        if isinstance(call.explicand.target, Output):
            outputs = count if whole.per_row else 1
        if outputs not in {1, count}:
            raise _several(whole.shape)
        alone = count == 1 or outputs == 1
        if not alone:
            warnings.warn(
                "an interpretable model of one's own is fitted for each example in turn, which "
                "can take long",
                stacklevel=3,
            )
        found = []
        for i in range(1 if alone else count):
            own, own_masks = (call, masks) if alone else example(call, masks, i)
            found.append(
                self._fitted(
                    own,
                    n_samples,
                    per_eval,
                    show_progress,
                    {
                        "baselines": like_inputs(own, own.explicand.paired_baselines()),
                        "feature_mask": like_inputs(own, own_masks),
                        "num_interp_features": features,
                    },
                ).reshape(1, -1)
            )
        return torch.cat(found)


def check_one_number(answer: Perturbed, call: CaptumCall) -> None:
    """Raises InvalidInput unless one number was explained of each example, or of all."""
    if prod(answer.shape) not in {1, call.explicand.count}:
        raise _several(answer.shape)


def _several(shape: object) -> InvalidInput:
    return InvalidInput(
        "target", f"not given for an output of shape {shape}", "one number for each example"
    )


def _known(similarity: Similarity) -> bool:
    return isinstance(similarity, ExponentialSimilarity)


@dataclass(frozen=True, slots=True)
class _OfWhole(lime.Lime):
    """Lime of a forward that answers for the batch: one similarity for all examples."""

    @property
    def kernel(self) -> ExponentialKernel:
        return ExponentialKernel(self.distance, self.kernel_width, together=True)
