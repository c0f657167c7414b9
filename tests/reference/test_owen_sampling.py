"""Owen sampling against the multilinear extension and exact Shapley values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Explicand, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.owen_sampling import OwenSampling
from adcaptum.engine.methods.shapley.shapley_value_sampling import ShapleyValueSampling
from tests.games import (
    Model,
    as_model,
    coalitions,
    multiplicative,
    noise,
    shapley_by_orders,
    smooth,
)

GAMES = [smooth, multiplicative, noise]


def ones(players: int) -> Explicand:
    return Explicand.of(torch.ones(1, players, dtype=torch.float64))


def answers(method: OwenSampling | ShapleyValueSampling, worths: Tensor, seeds: int) -> Tensor:
    """Values and standard errors over seeds, (2, seeds, players)."""
    players = len(worths).bit_length() - 1
    found = [
        explain(as_model(worths), method, replace(ones(players), seed=seed))
        for seed in range(seeds)
    ]
    return torch.stack(
        [
            torch.cat([answer.values[0] for answer in found]),
            torch.cat([answer.standard_errors[0] for answer in found]),
        ]
    )


def test_the_integral_of_expected_gains_is_the_shapley_value() -> None:
    # Owen (1972), on which the paper rests: by a quadrature that is exact here.
    worths = noise(5, 0)
    z = coalitions(5)
    values = torch.zeros(5, dtype=torch.float64)
    for q, weight in zip(*gauss_legendre(6), strict=True):
        chances = torch.where(z > 0, q, 1 - q)
        for i in range(5):
            others = [j for j in range(5) if j != i]
            of_others = chances[:, others].prod(1)
            signs = 2 * z[:, i] - 1
            values[i] += weight * (signs * of_others * worths).sum()
    torch.testing.assert_close(values, shapley_by_orders(worths), rtol=1e-12, atol=1e-12)


def gauss_legendre(points: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on 0 to 1 (Golub, Welsch 1969)."""
    k = torch.arange(1, points, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (nodes + 1) / 2, vectors[0].square()


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("n_samples", [2, 7, 20])
def test_the_mean_over_seeds_is_the_truth(game: Model, n_samples: int) -> None:
    worths = game(9, 0)
    values, _ = answers(OwenSampling(n_samples), worths, 300)
    z = (values.mean(0) - shapley_values(worths[None])[0]) / (values.std(0) / 300**0.5)
    assert float(z.abs().max()) < 4


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("n_samples", [12, 50, 90])
def test_the_truth_lies_within_two_standard_errors(game: Model, n_samples: int) -> None:
    worths = game(12, 0)
    values, errors = answers(OwenSampling(n_samples), worths, 60)
    off = values - shapley_values(worths[None])
    assert float((off.abs() <= 2 * errors).double().mean()) > 0.8
    stated, true = errors.square().mean().sqrt(), off.square().mean().sqrt()
    assert 0.85 < float(stated / true) < 1.2


@pytest.mark.parametrize("game", GAMES)
def test_it_is_no_less_exact_than_random_orders_of_as_many_coalitions(game: Model) -> None:
    worths = game(12, 0)
    truth = shapley_values(worths[None])
    # 26 coalitions, toggled 12 times each; 30 orders, 11 coalitions each.
    owen, _ = answers(OwenSampling(26), worths, 60)
    orders, _ = answers(ShapleyValueSampling(30), worths, 60)
    assert float((owen - truth).square().mean()) < 1.1 * float((orders - truth).square().mean())
