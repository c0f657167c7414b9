"""KernelShap against exact Shapley values: its estimates and the standard errors it states."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from captum import attr

from adcaptum.engine import Explicand, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.kernel_shap import KernelShap
from tests.games import Model, as_model, multiplicative, noise, shapley_by_orders, smooth
from tests.models import mlp, numbers

GAMES = [smooth, multiplicative, noise]


def ones(players: int) -> Explicand:
    return Explicand.of(torch.ones(1, players, dtype=torch.float64))


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", [3, 6, 8])
def test_all_coalitions_give_the_mean_over_all_orders(game: Model, players: int) -> None:
    worths = game(players, 0)
    (values,) = explain(as_model(worths), KernelShap(), ones(players)).values
    torch.testing.assert_close(values[0], shapley_by_orders(worths), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize(
    ("players", "n_samples"), [(8, 32), (8, 100), (8, 200), (10, 200), (12, 100), (12, 2072)]
)
def test_the_truth_lies_within_two_standard_errors(
    game: Model, players: int, n_samples: int
) -> None:
    covered = []
    squares = []
    for seed in range(60):
        worths = game(players, seed % 6)
        answer = explain(as_model(worths), KernelShap(n_samples), replace(ones(players), seed=seed))
        off = answer.values[0] - shapley_values(worths[None])
        covered.append((off.abs() <= 2 * answer.standard_errors[0]).double().mean())
        squares.append((off.square().mean(), answer.standard_errors[0].square().mean()))
    assert 0.85 <= float(torch.stack(covered).mean()) <= 1
    true, stated = (torch.stack(list(part)).mean().sqrt() for part in zip(*squares, strict=True))
    assert 0.8 < float(stated / true) < 2.2


def test_partial_answers_state_their_error_too() -> None:
    worths = smooth(12, 0)
    truth = shapley_values(worths[None])
    covered = []
    for seed in range(60):
        answer = explain(
            as_model(worths), KernelShap(2000), replace(ones(12), seed=seed), max_rows=600
        )
        off = answer.values[0] - truth
        covered.append((off.abs() <= 2 * answer.standard_errors[0]).double().mean())
    assert 0.85 <= float(torch.stack(covered).mean()) <= 1


def test_the_bias_of_the_regression_is_far_below_its_spread_and_falls() -> None:
    worths = smooth(10, 0)
    truth = shapley_values(worths[None])[0]
    ratios = []
    for n_samples in (80, 400):
        answers = [
            explain(as_model(worths), KernelShap(n_samples), replace(ones(10), seed=seed))
            for seed in range(200)
        ]
        values = torch.cat([answer.values[0] for answer in answers])
        ratios.append(float(((values.mean(0) - truth) / values.std(0)).square().mean().sqrt()))
    assert ratios[0] < 0.2
    assert ratios[1] < 0.1


def test_captum_estimates_the_same() -> None:
    x, x0 = numbers(1, 8), numbers(1, 8, seed=1)
    ours = explain(mlp(), KernelShap(), Explicand.of(x, target=1, baselines=x0))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = attr.KernelShap(mlp()).attribute(
            x, x0, target=1, n_samples=1500, perturbations_per_eval=500
        )
    spread = float(ours.values[0].abs().max())
    assert float((ours.values[0] - theirs).abs().max()) < 0.05 * spread
