"""Which methods are asked to a tolerance, of which models, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

MODELS: Final = ("cells", "digits", "photos", "reviews")
Truth = Literal["nodes", "rows", "layer", "samples", "coalitions", "masks", "flips"]
Question = Literal["baseline", "background", "groups"]


def _counts(
    cells: int = 0, digits: int = 0, photos: int = 0, reviews: int = 0
) -> Mapping[str, int]:
    return MappingProxyType(dict(zip(MODELS, (cells, digits, photos, reviews), strict=True)))


_EVERYWHERE: Final = _counts(1000, 1000, 50, 50)
# Embeddings of texts of different lengths are no background for each other, and on the way to a
# layer there is nothing between one token and another.
_BUT_TEXTS: Final = _counts(1000, 1000, 50)


@dataclass(frozen=True, slots=True)
class Case:
    """A method, how it is asked, and what is true.

    Attributes:
        method: Its name.
        truth: What computes the truth.
        setting: The parameter that is fixed without a tolerance, and its default; None: without a
            tolerance the method is exact.
        question: Which baselines and features.
        counts: How many explanations of each model; none: it is not asked.
        layered: Whether a layer is explained.
    """

    method: str
    truth: Truth
    setting: tuple[str, int] | None
    question: Question = "baseline"
    counts: Mapping[str, int] = field(default_factory=lambda: _EVERYWHERE)
    layered: bool = False


_STEPS: Final = ("n_steps", 50)
CASES: Final = (
    Case("integrated_gradients", "nodes", _STEPS),
    Case("neuron_conductance", "nodes", _STEPS, counts=_counts(1000, 1000), layered=True),
    Case("conductance", "nodes", _STEPS, counts=_BUT_TEXTS, layered=True),
    Case("internal_influence", "nodes", _STEPS, counts=_BUT_TEXTS, layered=True),
    Case("guided_integrated_gradients", "nodes", _STEPS, counts=_counts(200, 100)),
    # Only images can be blurred.
    Case("blur_integrated_gradients", "nodes", _STEPS, counts=_counts(0, 1000, 50)),
    Case("gradient_shap", "rows", ("n_samples", 50), "background", _BUT_TEXTS),
    Case("expected_gradients", "rows", ("n_samples", 200), "background", _BUT_TEXTS),
    Case("layer_gradient_shap", "layer", ("n_samples", 50), "background", _BUT_TEXTS, layered=True),
    Case("smooth_grad", "samples", ("n_samples", 20), counts=_counts(1000, 200, 10, 10)),
    Case("kernel_shap", "coalitions", ("n_samples", 2048), "groups"),
    Case("leverage_shap", "coalitions", ("n_samples", 2048), "groups"),
    Case("shapley_value_sampling", "coalitions", ("n_samples", 25), "groups"),
    Case("owen_sampling", "coalitions", ("n_samples", 25), "groups"),
    Case("lime", "flips", ("n_samples", 304), "groups"),
    Case("rise", "masks", ("n_samples", 1000), "groups", _counts(1000, 200, 50, 50)),
)
