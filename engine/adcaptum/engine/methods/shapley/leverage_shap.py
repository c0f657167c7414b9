"""Leverage SHAP: a regression on coalitions that are drawn by their leverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.shapley.pair_regression import PairRegression
from adcaptum.engine.methods.shapley.strata import Sampling
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class LeverageShap(PairRegression):
    """Shapley values from a regression on coalitions drawn by their leverage in it.

    Musco, Witter (2024), https://arxiv.org/abs/2410.01917, algorithm 1: the leverage of a coalition
    of s of d features is 1 / C(d, s) (section 3), so that every size has the same share of the
    samples. They come in pairs with their complements, without replacement, and weigh the Shapley
    kernel over their chance to be drawn. Here the number of each size is its expected one instead
    of binomial. The values of the features sum to the output less the output at the baseline
    exactly; once all coalitions are evaluated they are the Shapley values. With a background set a
    coalition's worth is the mean over its rows, and the standard errors, those of a stratified
    sample linearised, are those of the coalitions alone. Each element has the value of its feature.

    Estimates have a bias: up to half of a standard error with half of all coalitions, less with
    more. The standard errors cover it: the root mean square error stays below them (ADR 32).
    """

    traits: ClassVar[Traits] = Traits(
        name="leverage_shap",
        paper="https://arxiv.org/abs/2410.01917",
        baseline=True,
        random=True,
        feature_masks=True,
        background=True,
        tolerance=True,
        held=3.0,
        held_to_tolerance=3.0,
    )
    sampling: ClassVar[Sampling] = "leverage"
