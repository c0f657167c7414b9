"""Leverage SHAP against its paper's definitions and exact Shapley values."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Explicand, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.leverage_shap import LeverageShap
from adcaptum.engine.methods.shapley.shapley_value_sampling import ShapleyValueSampling
from adcaptum.engine.methods.shapley.strata import PairedSample
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


@pytest.mark.parametrize("players", [4, 7])
def test_the_leverage_of_a_coalition_in_the_regression_is_one_over_its_sizes_number(
    players: int,
) -> None:
    # On which the shares of sizes rest: those of the rows of the projected, weighted matrix.
    inner = coalitions(players)[1:-1]
    sizes = [int(s) for s in inner.sum(1)]
    kernel = [1 / (comb(players, s) * s * (players - s)) for s in sizes]
    projection = torch.eye(players, dtype=torch.float64) - 1 / players
    matrix = torch.tensor(kernel, dtype=torch.float64).sqrt()[:, None] * inner @ projection
    leverages = (matrix @ torch.linalg.pinv(matrix)).diagonal()
    expected = torch.tensor([1 / comb(players, s) for s in sizes], dtype=torch.float64)
    torch.testing.assert_close(leverages, expected)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", [3, 5, 7])
def test_all_coalitions_give_the_mean_over_all_orders(game: Model, players: int) -> None:
    worths = game(players, 0)
    (values,) = explain(as_model(worths), LeverageShap(), ones(players)).values
    torch.testing.assert_close(values[0], shapley_by_orders(worths), rtol=1e-10, atol=1e-10)


def paper_estimate(worths: Tensor, sample: PairedSample, chances: Tensor) -> Tensor:
    """Algorithm 1's least squares on sampled rows, projected, by a general solver.

    Args:
        worths: Of every coalition.
        sample: The pairs drawn.
        chances: That each pair is drawn.
    """
    members = torch.cat([sample.members, ~sample.members])
    players = members.shape[1]
    sizes = members.sum(1).tolist()
    kernel = [1 / (comb(players, s) * s * (players - s)) for s in sizes]
    weights = torch.tensor(kernel, dtype=torch.float64) / chances.repeat(2)
    root = weights.sqrt()[:, None]
    numbers = members.long() @ (1 << torch.arange(players))
    gap = worths[-1] - worths[0]
    even = gap / players * torch.ones(players, 1, dtype=torch.float64)
    projection = torch.eye(players, dtype=torch.float64) - 1 / players
    z = members.double()
    right = (worths[numbers] - worths[0])[:, None] - z @ even
    solved = torch.linalg.lstsq(root * z @ projection, root * right, driver="gelsd").solution
    return (projection @ solved + even)[:, 0]


@pytest.mark.parametrize("pairs", [24, 80])
def test_the_values_are_those_of_the_papers_projected_regression(pairs: int) -> None:
    worths = smooth(8, 1)
    sample = PairedSample.draw(8, pairs, 5, "leverage")
    drawn = torch.bincount(sample.strata)
    chances = (drawn / sample.populations)[sample.strata]
    question = replace(ones(8), seed=5)
    (values,) = explain(as_model(worths), LeverageShap(2 * pairs), question).values
    expected = paper_estimate(worths, sample, chances)
    torch.testing.assert_close(values[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize(("players", "n_samples"), [(8, 60), (10, 200), (12, 100), (12, 800)])
def test_the_truth_lies_within_two_standard_errors(
    game: Model, players: int, n_samples: int
) -> None:
    covered = []
    squares = []
    for seed in range(40):
        worths = game(players, seed % 5)
        question = replace(ones(players), seed=seed)
        answer = explain(as_model(worths), LeverageShap(n_samples), question)
        off = answer.values[0] - shapley_values(worths[None])
        covered.append((off.abs() <= 2 * answer.standard_errors[0]).double().mean())
        squares.append((off.square().mean(), answer.standard_errors[0].square().mean()))
    assert 0.85 <= float(torch.stack(covered).mean()) <= 1
    true, stated = (torch.stack(list(part)).mean().sqrt() for part in zip(*squares, strict=True))
    assert 0.8 < float(stated / true) < 2.2


@pytest.mark.parametrize("game", GAMES)
def test_it_is_more_exact_than_random_orders_of_as_many_coalitions(game: Model) -> None:
    worths = game(12, 0)
    truth = shapley_values(worths[None])
    errors = []
    # 26 orders take 11 coalitions each.
    for method in (LeverageShap(286), ShapleyValueSampling(26)):
        answers = [
            explain(as_model(worths), method, replace(ones(12), seed=seed)) for seed in range(40)
        ]
        off = torch.cat([answer.values[0] for answer in answers]) - truth
        errors.append(float(off.square().mean().sqrt()))
    assert errors[0] < 0.8 * errors[1]
