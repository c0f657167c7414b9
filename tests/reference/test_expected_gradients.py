"""Expected gradients against the double sum over a background and many points of the way."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Attribution, Explicand, Site, explain
from adcaptum.engine.methods.paths.stratified_lines import stratified_lines
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import mlp, numbers

BACKGROUND = numbers(6, 8, seed=3)
X = numbers(2, 8)


def dense(model: nn.Module, x: Tensor, target: int, *, multiply: bool = True) -> Tensor:
    """Erion et al. (2021), equation 3: every row, and 400 midpoints of the way from it."""
    total = torch.zeros_like(x)
    for row in BACKGROUND:
        alphas = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
        points = (row + alphas[:, None] * (x - row)).requires_grad_()
        (gradients,) = torch.autograd.grad(model(points)[:, target].sum(), points)
        total += gradients.mean(0) * ((x - row) if multiply else 1) / len(BACKGROUND)
    return total


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("n_samples", [60, 600, 250])
def test_the_values_lie_around_the_double_sum(n_samples: int, multiply: bool) -> None:
    model = mlp()
    method = resolve(
        METHODS["expected_gradients"], {"n_samples": n_samples, "multiply_by_inputs": multiply}
    )
    explicand = Explicand.of(X, target=[0, 2], baselines=BACKGROUND)
    ours = explain(model, method, explicand)
    assert ours.standard_error is not None
    for i, target in enumerate((0, 2)):
        off = ours.values[0][i] - dense(model, X[i], target, multiply=multiply)
        # Student's t of nine degrees of freedom is beyond 6 once in 5000.
        assert float((off / ours.standard_errors[0][i]).abs().max()) < 6
        assert float((off / ours.standard_errors[0][i]).abs().max()) > 0.1


def test_with_many_points_the_values_are_the_double_sum() -> None:
    model, method = mlp(), resolve(METHODS["expected_gradients"], {"n_samples": 12_000})
    ours = explain(model, method, Explicand.of(X[:1], target=1, baselines=BACKGROUND))
    expected = dense(model, X[0], 1)
    torch.testing.assert_close(ours.values[0][0], expected, rtol=0, atol=1e-5)
    assert ours.standard_error is not None
    assert float(ours.standard_error) < 1e-5


def test_strata_err_far_less_than_chance() -> None:
    model, explicand = mlp(), Explicand.of(X, target=1, baselines=BACKGROUND)
    stratified = explain(
        model, resolve(METHODS["expected_gradients"], {"n_samples": 600}), explicand
    )
    at_random = explain(model, resolve(METHODS["gradient_shap"], {"n_samples": 600}), explicand)
    assert stratified.standard_error is not None
    assert at_random.standard_error is not None
    assert bool((10 * stratified.standard_error < at_random.standard_error).all())


def test_values_sum_to_what_the_output_has_beyond_the_backgrounds() -> None:
    model, method = mlp(), resolve(METHODS["expected_gradients"], {"n_samples": 6000})
    ours = explain(model, method, Explicand.of(X, target=1, baselines=BACKGROUND, at=Site("1")))
    with torch.no_grad():
        gap = model(X)[:, 1] - model(BACKGROUND)[:, 1].mean()
    torch.testing.assert_close(ours.values[0].sum(1), gap, rtol=0, atol=1e-4)
    assert ours.output is not None
    torch.testing.assert_close(ours.output, model(X)[:, 1].detach())


@pytest.mark.parametrize(("points", "background"), [(12, 4), (10, 4), (3, 7), (5, 1), (1, 1)])
def test_points_are_spread_evenly(points: int, background: int) -> None:
    drawn = [stratified_lines(5, r, points, background) for r in range(background)]
    for choices, alphas in drawn:
        assert sorted((alphas * points).long().tolist()) == list(range(points))
        turns = Counter(choices.tolist())
        assert max(turns.values()) - min(turns.values()) <= 2
        if points % background == 0:
            for row in range(background):
                own = alphas[choices == row]
                steps = points // background
                assert (own * steps).long().tolist() == list(range(steps))
    every = torch.cat([choices for choices, _ in drawn])
    assert torch.bincount(every, minlength=background).tolist() == [points] * background


def test_an_answer_is_reported_after_some_replicates() -> None:
    reported: list[Attribution] = []
    explicand = Explicand.of(X[:1], target=1, baselines=BACKGROUND, with_error=False)
    method = resolve(METHODS["expected_gradients"], {"n_samples": 60})
    explain(mlp(), method, explicand, on_progress=reported.append)
    assert [each.rows_used for each in reported] == [12, 36, 60]
