"""Stated errors of path integrals hold on functions that are made to deceive them."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Attribution, Explicand, Site, StopReason, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.adversarial import FAMILIES, Case, cases, mean_gradient
from tests.models import numbers

COUNT = 30
ROUNDING = 1e-9


class Layered(nn.Module):
    """A function behind a layer that passes its input on."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(self.layer(x * 1.0))


def explained(name: str, case: Case, tolerance: float, max_rows: int | None = None) -> Attribution:
    at = Site("layer") if METHODS[name].traits.layer in {"required", "through"} else INPUT
    asked = Explicand.of(case.x, baselines=case.start, at=at, tolerance=tolerance)
    method = resolve(METHODS[name], {})
    return explain(Layered(case.function).eval(), method, asked, max_rows=max_rows)


def truth(name: str, case: Case) -> Tensor:
    slopes = mean_gradient(case)
    return slopes if name == "internal_influence" else slopes * (case.x - case.start)


def relative_error(answer: Attribution, exact: Tensor) -> float:
    off, size = (answer.values[0] - exact).abs().sum(), answer.values[0].abs().sum()
    return float(off / size) if size else (0.0 if not off else nan)


def held(name: str, family: str, tolerance: float, count: int) -> tuple[float, float]:
    """The shares of answers within the tolerance, and within what they state."""
    within, stated = [], []
    for case in cases(family, count):
        answer = explained(name, case, tolerance)
        assert answer.relative_error is not None
        off, says = relative_error(answer, truth(name, case)), float(answer.relative_error)
        converged = answer.stop_reason is StopReason.CONVERGED
        assert converged == (says <= tolerance)
        within.append(off <= tolerance + ROUNDING or not converged)
        # Jumps have no gradients to sum: the error is without a bound, and said to be.
        stated.append(off <= says + ROUNDING or says == torch.inf)
    return sum(within) / count, sum(stated) / count


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_in_99_of_100_the_error_is_within_the_tolerance(tolerance: float) -> None:
    shares = {family: held("integrated_gradients", family, tolerance, COUNT) for family in FAMILIES}
    within = [a for a, _ in shares.values()]
    stated = [b for _, b in shares.values()]
    assert sum(within) / len(within) >= 0.99, shares
    assert sum(stated) / len(stated) >= 0.98, shares
    assert min(within) >= 0.9, shares


@pytest.mark.parametrize("family", [*FAMILIES][:-4:2])
@pytest.mark.parametrize(
    "name",
    [
        "expected_gradients",
        "conductance",
        "neuron_conductance",
        "internal_influence",
        "layer_gradient_shap",
    ],
)
def test_every_path_method_states_errors_that_hold(name: str, family: str) -> None:
    within, stated = held(name, family, 0.05, 5)
    assert within == 1
    assert stated >= 4 / 5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name",
    [
        "integrated_gradients",
        "guided_integrated_gradients",
        "blur_integrated_gradients",
        "expected_gradients",
        "gradient_shap",
        "conductance",
    ],
)
def test_no_answer_states_less_than_its_completeness_error(name: str, family: str) -> None:
    for case in cases(family, 2):
        answer = explained(name, case, 0.2, max_rows=150)
        assert answer.completeness_error is not None
        assert answer.relative_error is not None
        stated = answer.relative_error * answer.values[0].abs().sum()
        assert not bool((stated < answer.completeness_error - ROUNDING).any())
        shown = answer.completeness_error > ROUNDING
        if bool((shown & (answer.completeness_error > 0.2 * answer.values[0].abs().sum())).any()):
            assert answer.stop_reason in {StopReason.BUDGET, StopReason.EXHAUSTED}


@pytest.mark.parametrize(
    "name",
    [n for n, m in METHODS.items() if m.traits.tolerance and "gradient" in n and "smooth" not in n]
    + ["conductance", "internal_influence", "neuron_conductance", "layer_gradient_shap"],
)
def test_the_ramp_of_the_issue_is_seen(name: str) -> None:
    """It lies between the points of a regular grid of five."""

    def ramp(x: Tensor) -> Tensor:
        return (x[:, 0] - 0.3).relu() - (x[:, 0] - 0.45).relu() + x[:, 1]

    case = Case(ramp, torch.ones(1, 2), torch.zeros(1, 2))
    for tolerance in (0.05, 0.01, 0.001):
        answer = explained(name, case, tolerance)
        # Guided ways move one input at a time; blur's begin at the mean.
        if name == "blur_integrated_gradients":
            assert answer.completeness_error is not None
            met = float(answer.completeness_error) <= tolerance
            assert met or answer.stop_reason is not StopReason.CONVERGED
            continue
        exact = torch.tensor([[0.15, 1.0]])
        off = float((answer.values[0] - exact).abs().sum() / 1.15)
        assert off <= tolerance or answer.stop_reason is not StopReason.CONVERGED
        assert off < 0.05


@pytest.mark.parametrize("family", [*FAMILIES][:-4])
def test_averages_over_backgrounds_state_errors_that_hold(family: str) -> None:
    count, within = 6, 0
    for i, case in enumerate(cases(family, count)):
        starts = case.start + numbers(10, case.x.shape[1], seed=i) * 0.3
        asked = Explicand.of(case.x, baselines=starts, background=True, tolerance=0.05)
        answer = explain(case.function, METHODS["expected_gradients"](), asked)
        lines = [Case(case.function, case.x, start) for start in starts.split(1)]
        exact = torch.stack([mean_gradient(line, 4000) * (line.x - line.start) for line in lines])
        converged = answer.stop_reason is StopReason.CONVERGED
        within += not converged or relative_error(answer, exact.mean(0)) <= 0.05
    assert within >= count - 1
