"""Models that answer with NaN or infinity: no method states that it is sure of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine import (
    INPUT,
    METHODS,
    Attribution,
    Explicand,
    Site,
    StopReason,
    explain,
)
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import mlp, numbers

FEATURES = 4
PARAMETERS: dict[str, dict[str, object]] = {
    "smooth_grad": {"n_samples": 4},
    "lime": {"n_samples": 12},
    "rise": {"n_samples": 20},
    "shapley_value_sampling": {"n_samples": 3},
    "owen_sampling": {"n_samples": 3},
}
RANDOM = sorted(name for name, method in METHODS.items() if method.traits.random)
TAKERS = sorted(name for name, method in METHODS.items() if method.traits.tolerance)


class Spoilt(torch.nn.Module):
    """A smooth model whose answer is a number times another for inputs that are marked."""

    def __init__(self, bad: float) -> None:
        super().__init__()
        self.inner = mlp(FEATURES)
        self.bad = bad

    def forward(self, x: Tensor) -> Tensor:
        factor = torch.where(x[:, :1] > 50, self.bad, 1.0)
        return self.inner(x) * factor


def asked(name: str, **more: Any) -> Explicand:
    x = numbers(3, FEATURES)
    x[1, 0] = 100
    several = name in {"gradient_shap", "layer_gradient_shap", "expected_gradients"}
    rows = 3 if several else 1
    at_layer = needs_layer(METHODS[name].traits.layer)
    return Explicand.of(
        x,
        target=1,
        baselines=numbers(rows, FEATURES, seed=5),
        background=several,
        at=Site("inner.0") if at_layer else INPUT,
        seed=3,
        **more,
    )


def answer(name: str, bad: float, **more: Any) -> Attribution:
    method = resolve(METHODS[name], PARAMETERS.get(name, {}))
    return explain(Spoilt(bad).double().eval(), method, asked(name, **more), max_rows=20_000)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_has_no_standard_error(name: str, bad: float) -> None:
    found = answer(name, bad)
    if found.standard_error is None:
        return
    for values, errors in zip(found.values, found.standard_errors, strict=True):
        assert not bool((errors[~values.isfinite()] == 0).any())
        assert values[[0, 2]].isfinite().all()
    assert found.standard_error is not None
    if any(not values[1].isfinite().all() for values in found.values):
        assert not found.standard_error[1].isfinite()
    if any(values[1].isnan().any() for values in found.values):
        assert found.stop_reason is not StopReason.CONVERGED


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_tolerance_is_not_met_by_what_is_no_number(name: str, bad: float) -> None:
    found = answer(name, bad, tolerance=0.2)
    if all(values.isfinite().all() for values in found.values):
        return
    assert found.stop_reason is not StopReason.CONVERGED
    assert found.relative_error is not None
    assert not bool(found.relative_error[1] <= 0.2)
