"""DeepLIFT SHAP: DeepLIFT's mean over a background set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.backward_rules.reference_rows import (
    compared_rows,
    compared_with_background,
    difference_attribution,
)
from adcaptum.engine.rules.deep_lift.named import DifferenceRule, difference_rule
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class DeepLiftShap:
    """DeepLIFT averaged over the baselines of a background set: an estimate of Shapley values.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, section 4.2. The attributions sum to the
    output less the mean output over the background, exactly. It takes one gradient row for each
    pair of example and baseline, and one row for each baseline in each batch.
    """

    traits: ClassVar[Traits] = Traits(
        name="deep_lift_shap",
        paper="https://arxiv.org/abs/1705.07874",
        gradient=True,
        operations=True,
        baseline=True,
        background=True,
        distribution=True,
        held=2.0,
    )

    rule: DifferenceRule = parameter("rescale", "As of deep_lift.")
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the mean multipliers."
    )
    strict: bool = parameter(
        False, "Refuse a model with operations for which there is no rule, instead of listing them."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions."""
        reading = yield from ask(
            compared_with_background(
                explicand, difference_rule(self.rule), multiply=self.multiply_by_inputs
            )
        )
        return difference_attribution(
            reading, explicand.count, multiply=self.multiply_by_inputs, strict=self.strict
        )

    def rows(self, explicand: Explicand) -> int:
        """A row for each pair of example and baseline, plus the baselines."""
        return compared_rows(explicand, max((len(t) for t in explicand.baselines or ()), default=1))
