"""KernelShap."""

from __future__ import annotations

import warnings

from adcaptum.attr.errors import translated
from adcaptum.attr.facade.answer import like_inputs
from adcaptum.attr.facade.attribution import PerturbationAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import BaselineType, TargetType, Tensors
from adcaptum.attr.facade.perturbing.options import check_samples, title
from adcaptum.attr.facade.perturbing.perturbation import perturbed
from adcaptum.attr.surrogates.interpretable import coefficients_of
from adcaptum.attr.surrogates.lime import check_one_number
from adcaptum.attr.surrogates.lime_functions import interpretable_masks
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.methods.shapley import kernel_shap

_DEFAULT = 25


class KernelShap(PerturbationAttribution):
    """Shapley values from a weighted regression on coalitions of features.

    The values sum to the output less that at the baseline exactly; where all coalitions fit into
    the samples they are exact.
    """

    @property
    def multiplies_by_inputs(self) -> bool:
        return False

    def attribute(
        self,
        inputs: Tensors,
        baselines: BaselineType = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Tensors | None = None,
        n_samples: int = _DEFAULT,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Tensors:
        """Estimates the values.

        Args:
            inputs: A tensor or a tuple of tensors.
            baselines: The values of features that are absent.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            feature_mask: The feature of each element.
            n_samples: The number of coalitions to evaluate. If the default, 25, does not determine
                the values, 2 * features + 2048 are taken; if another number does not, 4 * features,
                with a warning.
            perturbations_per_eval: See `adcaptum.attr.facade.perturbing.perturbation`.
            return_input_shape: Whether each element gets its feature's value. Else the result is
                (examples, features), features being the mask's numbers from the smallest.
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
        with translated():
            count = feature_count(call.explicand)
        answer = perturbed(
            call,
            kernel_shap.KernelShap(_enough(n_samples, count)),
            per_eval=perturbations_per_eval,
            progress=title(self, show_progress),
        )
        check_one_number(answer, call)
        if return_input_shape:
            return like_inputs(call, answer.values)
        return coefficients_of(answer.values, masks, features)


def _enough(n_samples: int, features: int) -> int | None:
    """Returns a number of samples that determines the values; None: the engine's own."""
    all_there_are = 2**features - 2
    needed = max(min(4 * features, all_there_are), 1)
    if n_samples >= needed:
        return n_samples
    if n_samples == _DEFAULT:
        return None
    warnings.warn(
        f"{n_samples} samples do not determine the values of {features} features: {needed} are "
        "taken",
        stacklevel=3,
    )
    return needed
