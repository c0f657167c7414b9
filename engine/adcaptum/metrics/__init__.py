"""Captum's measures of attributions, and others, over the engine."""

from adcaptum.engine.metrics.score import Score
from adcaptum.metrics._core.infidelity import infidelity, infidelity_perturb_func_decorator
from adcaptum.metrics._core.sensitivity import sensitivity_max
from adcaptum.metrics.comparison.compare import compare
from adcaptum.metrics.comparison.comparison import Comparison
from adcaptum.metrics.comparison.measures import MEASURES, Measure
from adcaptum.metrics.faithfulness import (
    completeness,
    deletion,
    faithfulness_correlation,
    faithfulness_estimate,
    insertion,
    monotonicity,
    road,
)
from adcaptum.metrics.localisation import (
    localisation_auc,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from adcaptum.metrics.randomisation import emprt, mprt
from adcaptum.metrics.sparsity import complexity, effective_complexity, sparseness

__all__ = [
    "MEASURES",
    "Comparison",
    "Measure",
    "Score",
    "compare",
    "completeness",
    "complexity",
    "deletion",
    "effective_complexity",
    "emprt",
    "faithfulness_correlation",
    "faithfulness_estimate",
    "infidelity",
    "infidelity_perturb_func_decorator",
    "insertion",
    "localisation_auc",
    "monotonicity",
    "mprt",
    "pointing_game",
    "relevance_mass",
    "relevance_rank",
    "road",
    "sensitivity_max",
    "sparseness",
]
