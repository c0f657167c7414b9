"""The cost of methods' own mathematics, known before they begin."""

from __future__ import annotations

from math import isfinite

import pytest
import torch

from adcaptum.engine import INPUT, METHODS, Explicand, Site
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.surrogates.lime import Lime
from adcaptum.engine.vocabulary.method import multiply_adds, needs_layer

COSTLY = {
    "kernel_shap", "leverage_shap", "lime", "partition_shap", "rise", "shapley_interactions",
    "shapley_values",
}  # fmt: skip


def asked(name: str, examples: int, tolerance: float | None = None) -> Explicand:
    at = Site("0") if needs_layer(METHODS[name].traits.layer) else INPUT
    return Explicand.of(torch.zeros(examples, 12), target=0, at=at, tolerance=tolerance)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("tolerance", [None, 0.05])
def test_every_method_has_an_estimate(name: str, tolerance: float | None) -> None:
    cost = multiply_adds(METHODS[name](), asked(name, 2, tolerance))
    assert isfinite(cost)
    assert cost >= 0
    if name in COSTLY:
        assert cost > 0


@pytest.mark.parametrize("name", sorted(COSTLY))
def test_more_examples_cost_more(name: str) -> None:
    few, many = (multiply_adds(METHODS[name](), asked(name, n)) for n in (1, 100))
    assert many > few


def test_a_method_inside_another_costs_as_often_as_it_runs() -> None:
    explicand = asked("lime", 2)
    inside = SmoothGrad(of=Lime(), n_samples=7)
    assert multiply_adds(inside, explicand) == 7 * multiply_adds(Lime(), explicand)
