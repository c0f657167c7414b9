"""Leverage SHAP: a regression on coalitions that are drawn by their leverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.shapley.regression import SAMPLES_TEXT, Regression
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class LeverageShap:
    """Shapley values from a regression on coalitions drawn by their leverage in it.

    Musco, Witter (2024), https://arxiv.org/abs/2410.01917, algorithm 1: the leverage of a coalition
    of s of d features is 1 / C(d, s) (section 3), so that every size has the same share of the
    samples. They come in pairs with their complements, without replacement, and weigh the Shapley
    kernel over their chance to be drawn. Here the number of each size is its expected one instead
    of binomial. The values of the features sum to the output less the output at the baseline
    exactly; once all coalitions are evaluated they are the Shapley values. With a background set a
    coalition's worth is the mean over its rows, and the standard errors, those of a stratified
    sample linearised, are those of the coalitions alone. Each element has the value of its feature.
    """

    traits: ClassVar[Traits] = Traits(
        name="leverage_shap",
        paper="https://arxiv.org/abs/2410.01917",
        baseline=True,
        random=True,
        feature_masks=True,
        background=True,
        tolerance=True,
    )

    n_samples: int | None = parameter(None, SAMPLES_TEXT, minimum=1, maximum=10_000_000)

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; reports after each round of coalitions.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
        """
        return (yield from self._regression.flow(explicand))

    def rows(self, explicand: Explicand) -> int:
        """The samples, the input and the baseline.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
        """
        return self._regression.rows(explicand)

    @property
    def _regression(self) -> Regression:
        return Regression(self.traits.name, "leverage", self.n_samples)
