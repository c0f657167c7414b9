"""Shapley interactions against their definitions, written out over sets."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.shapley.shapley_interactions import ShapleyInteractions
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


def by_definition(worths: Tensor) -> Tensor:
    """The index of Grabisch, Roubens (1999) for each two players."""
    players = len(worths).bit_length() - 1
    found = torch.zeros(players, players, dtype=torch.float64)
    for i, j in combinations(range(players), 2):
        others = [k for k in range(players) if k not in {i, j}]
        total = 0.0
        for size in range(len(others) + 1):
            weight = factorial(players - size - 2) * factorial(size) / factorial(players - 1)
            for chosen in combinations(others, size):
                s = sum(1 << k for k in chosen)
                both = float(worths[s | 1 << i | 1 << j] + worths[s])
                total += weight * (both - float(worths[s | 1 << i] + worths[s | 1 << j]))
        found[i, j] = found[j, i] = total
    return found


def explained(worths: Tensor, index: str) -> Tensor:
    explicand = Explicand.of(torch.ones(1, len(worths).bit_length() - 1, dtype=torch.float64))
    method = ShapleyInteractions("sii" if index == "sii" else "k_sii")
    return explain(as_model(worths), method, explicand).values[0][0]


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", [2, 3, 6])
def test_the_index_is_that_of_the_definition(game: Model, players: int) -> None:
    worths = game(players, 0)
    values = explained(worths, "sii")
    expected = by_definition(worths) + shapley_by_orders(worths).diag()
    torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", [1, 2, 3, 6])
def test_the_rows_of_the_matrix_sum_to_shapley_values(game: Model, players: int) -> None:
    worths = game(players, 0)
    values = explained(worths, "k_sii")
    torch.testing.assert_close(values.sum(1), shapley_by_orders(worths), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(values, values.T)


@pytest.mark.parametrize("game", GAMES)
def test_the_matrix_sums_to_the_gap(game: Model) -> None:
    worths = game(7, 1)
    total = float(explained(worths, "k_sii").sum())
    assert total == pytest.approx(float(worths[-1] - worths[0]), abs=1e-12)


@pytest.mark.parametrize("game", GAMES)
def test_off_the_diagonal_either_order_has_half_of_the_index(game: Model) -> None:
    worths = game(5, 2)
    values = explained(worths, "k_sii")
    values.fill_diagonal_(0)
    torch.testing.assert_close(2 * values, by_definition(worths), rtol=1e-10, atol=1e-10)


def test_a_game_of_pairs_has_its_terms() -> None:
    z = coalitions(6)
    terms = torch.triu(torch.randn(6, 6, dtype=torch.float64), 1)
    mains = torch.randn(6, dtype=torch.float64)
    values = explained(((z @ terms) * z).sum(1) + z @ mains, "k_sii")
    torch.testing.assert_close(values, (terms + terms.T) / 2 + mains.diag())
