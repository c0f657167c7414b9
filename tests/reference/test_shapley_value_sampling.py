"""Sampled Shapley values are right on average, and their standard errors say how far off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from captum import attr
from torch import Tensor

from adcaptum.engine import Explicand, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.shapley_value_sampling import ShapleyValueSampling
from tests.games import Model, as_model, multiplicative, noise, smooth
from tests.models import mlp, numbers

PLAYERS = 8
GAMES = [smooth, multiplicative, noise]


def sampled(worths: Tensor, orders: int, seeds: int) -> tuple[Tensor, Tensor]:
    """Values and standard errors for each seed, (seeds, players) each."""
    explicand = Explicand.of(torch.ones(1, PLAYERS, dtype=torch.float64))
    model, method = as_model(worths), ShapleyValueSampling(orders)
    answers = [explain(model, method, replace(explicand, seed=seed)) for seed in range(seeds)]
    return (
        torch.cat([answer.values[0] for answer in answers]),
        torch.cat([answer.standard_errors[0] for answer in answers]),
    )


@pytest.mark.parametrize("game", GAMES)
def test_antithetic_pairs_are_unbiased(game: Model) -> None:
    worths = game(PLAYERS, 1)
    values, _ = sampled(worths, orders=2, seeds=600)
    standard_error = values.std(0) / len(values) ** 0.5
    bias = values.mean(0) - shapley_values(worths[None])[0]
    assert float((bias / standard_error).abs().max()) < 4


@pytest.mark.parametrize("game", GAMES)
def test_the_squared_standard_error_is_the_variance(game: Model) -> None:
    values, errors = sampled(game(PLAYERS, 2), orders=16, seeds=200)
    ratio = errors.square().mean(0) / values.var(0)
    assert 0.7 < float(ratio.mean()) < 1.4


@pytest.mark.parametrize("game", GAMES)
def test_the_truth_lies_within_two_standard_errors(game: Model) -> None:
    worths = game(PLAYERS, 3)
    values, errors = sampled(worths, orders=30, seeds=100)
    truth = shapley_values(worths[None])
    covered = ((values - truth).abs() <= 2 * errors).double().mean()
    assert 0.85 <= float(covered) <= 1


def test_captum_estimates_the_same() -> None:
    x, x0 = numbers(1, 8), numbers(1, 8, seed=1)
    explicand = Explicand.of(x, target=1, baselines=x0)
    ours = explain(mlp(), ShapleyValueSampling(36), explicand)
    torch.manual_seed(0)
    theirs = attr.ShapleyValueSampling(mlp()).attribute(
        x, x0, target=1, n_samples=400, perturbations_per_eval=8
    )
    assert ours.standard_error is not None
    assert float((ours.values[0] - theirs).abs().max()) < 8 * float(ours.standard_error)
