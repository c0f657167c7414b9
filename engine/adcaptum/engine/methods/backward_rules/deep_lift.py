"""DeepLIFT: differences from a reference, attributed to the inputs operation by operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.backward_rules.reference_rows import (
    compared_rows,
    compared_with_baselines,
    difference_attribution,
)
from adcaptum.engine.rules.deep_lift.named import DifferenceRule, difference_rule
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class DeepLift:
    """Contributions of each element's difference from the baseline to the output's difference.

    Shrikumar, Greenside, Kundaje (2017), https://arxiv.org/abs/1704.02685. The attributions sum to
    the output less the output at the baseline, exactly. It takes one gradient row an example, and
    one row for each baseline, however many examples share it.
    """

    traits: ClassVar[Traits] = Traits(
        name="deep_lift",
        paper="https://arxiv.org/abs/1704.02685",
        gradient=True,
        operations=True,
        baseline=True,
    )

    rule: DifferenceRule = parameter(
        "rescale",
        "The share of each input in a non-linearity's difference: rescale, by the quotient of the "
        "differences; reveal_cancel, positive and negative contributions apart, where a linear or "
        "convolution layer comes before.",
    )
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the multipliers."
    )
    strict: bool = parameter(
        False, "Refuse a model with operations for which there is no rule, instead of listing them."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions."""
        reading = yield from ask(
            compared_with_baselines(
                explicand, difference_rule(self.rule), multiply=self.multiply_by_inputs
            )
        )
        return difference_attribution(
            reading, explicand.count, multiply=self.multiply_by_inputs, strict=self.strict
        )

    def rows(self, explicand: Explicand) -> int:
        """One row an example, plus the baselines."""
        return compared_rows(explicand, 1)
