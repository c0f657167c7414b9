"""KernelShap: Shapley values from a regression on coalitions of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.shapley.pair_regression import PairRegression
from adcaptum.engine.methods.shapley.strata import Sampling
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class KernelShap(PairRegression):
    """Shapley values from a weighted regression of the target on coalitions of features.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, theorem 2, with coalitions and their
    complements in pairs: Covert, Lee (2021), https://arxiv.org/abs/2012.01536, section 3.2. Sizes
    of coalitions are evaluated whole where the number of samples allows, the others are sampled
    without replacement. The values of the features sum to the output less the output at the
    baseline exactly; once all coalitions are evaluated they are the Shapley values. With a
    background set a coalition's worth is the mean over its rows, and the standard errors are those
    of the coalitions alone. Each element has the value of its feature.

    Estimates have a bias: up to half of a standard error with half of all coalitions, less with
    more. The standard errors cover it: the root mean square error stays below them (ADR 32).
    """

    traits: ClassVar[Traits] = Traits(
        name="kernel_shap",
        paper="https://arxiv.org/abs/2012.01536",
        baseline=True,
        random=True,
        feature_masks=True,
        background=True,
        tolerance=True,
        held=3.0,
        held_to_tolerance=3.0,
    )
    sampling: ClassVar[Sampling] = "kernel"
