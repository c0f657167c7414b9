"""Partition SHAP against the definition of the value for nested unions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Attribution, Explicand, explain
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.hierarchy import Group, Hierarchy
from adcaptum.engine.methods.shapley.partition_shap import PartitionShap
from tests.games import Model, as_model, coalitions, gap, multiplicative, noise, smooth

GAMES = [smooth, multiplicative, noise]
ALL = PartitionShap(10_000_000)


def ones(players: int) -> Explicand:
    return Explicand.of(torch.ones(1, players, dtype=torch.float64))


def together(group: Group) -> set[frozenset[int]]:
    """All groups of a hierarchy."""
    found = {frozenset(group.members.tolist())}
    return found if len(group) == 1 else found.union(*map(together, group.halves))


def contiguous(order: tuple[int, ...], groups: set[frozenset[int]]) -> bool:
    """Whether every group stands together in the order."""
    for group in groups:
        places = [i for i, player in enumerate(order) if player in group]
        if places[-1] - places[0] + 1 != len(group):
            return False
    return True


def orders(players: int) -> Iterator[tuple[int, ...]]:
    """The orders in which groups stay together, by trying all."""
    groups = together(Hierarchy.line(players).root)
    return (order for order in permutations(range(players)) if contiguous(order, groups))


def by_orders(worths: Tensor) -> Tensor:
    """The value of nested unions by its definition: the mean gain over those orders."""
    players = len(worths).bit_length() - 1
    gains = []
    for order in orders(players):
        gain = torch.zeros(players, dtype=torch.float64)
        coalition = 0
        for player in order:
            joined = coalition | 1 << player
            gain[player] = worths[joined] - worths[coalition]
            coalition = joined
        gains.append(gain)
    return torch.stack(gains).mean(0)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", [1, 2, 3, 5, 7, 8])
def test_all_splits_give_the_mean_over_orders_in_which_groups_stay_together(
    game: Model, players: int
) -> None:
    worths = game(players, 0)
    (values,) = explain(as_model(worths), ALL, ones(players)).values
    torch.testing.assert_close(values[0], by_orders(worths), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("game", GAMES)
def test_a_group_has_the_shapley_value_that_it_has_as_one_player(game: Model) -> None:
    # Owen's quotient game property, at the upmost level.
    worths = game(8, 1)
    (values,) = explain(as_model(worths), ALL, ones(8)).values
    halves = worths[torch.tensor([0, 15, 240, 255])]
    expected = shapley_values(halves[None])[0]
    torch.testing.assert_close(values[0].view(2, 4).sum(1), expected)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("max_evals", [2, 4, 9, 40, 150])
def test_the_values_are_complete_after_any_number_of_splits(game: Model, max_evals: int) -> None:
    answer = explain(as_model(game(12, 0)), PartitionShap(max_evals), ones(12))
    torch.testing.assert_close(answer.values[0].sum(1), gap(answer), rtol=1e-12, atol=1e-12)


def test_additive_games_are_solved_once_every_feature_stands_alone() -> None:
    weights = torch.randn(12, dtype=torch.float64)
    answer = explain(as_model(coalitions(12) @ weights), ALL, ones(12))
    torch.testing.assert_close(answer.values[0][0], weights)


def test_evaluations_go_where_the_effects_are() -> None:
    # Of 1024 features three matter; breadth first it would take 350,000 evaluations to be exact.
    weights = torch.zeros(1024, dtype=torch.float64)
    weights[torch.tensor([3, 500, 900])] = torch.tensor([1.0, -2.0, 4.0]).double()

    def model(x: Tensor) -> Tensor:
        return x @ weights

    reported: list[Attribution] = []
    explicand = Explicand.of(torch.ones(1, 1024, dtype=torch.float64))
    answer = explain(model, PartitionShap(10_000), explicand, on_progress=reported.append)
    off = [float((each.values[0][0] - weights).abs().max()) for each in reported]
    assert off[-1] < 0.05
    assert off[-1] < off[len(off) // 2] < off[0]
    assert answer.rows_used == 10_000


def test_with_more_evaluations_the_values_approach_the_exact_ones() -> None:
    worths = smooth(12, 0)
    exact = by_splits(worths, 10_000)
    off = [float((by_splits(worths, n) - exact).norm()) for n in (2, 20, 60, 100)]
    assert off == sorted(off, reverse=True)


def by_splits(worths: Tensor, max_evals: int) -> Tensor:
    players = len(worths).bit_length() - 1
    return explain(as_model(worths), PartitionShap(max_evals), ones(players)).values[0][0]


def test_examples_are_split_each_by_its_own_effects() -> None:
    weights = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> Tensor:
        return torch.tanh(x @ weights.T).sum(1) + x.sum(1) ** 2 / 50

    x = torch.randn(3, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[0, 32:] = 0
    whole = Explicand.of(x)
    answer = explain(model, PartitionShap(60), whole)
    for i in range(3):
        alone = explain(model, PartitionShap(60), replace(whole, inputs=(x[i : i + 1],)))
        torch.testing.assert_close(answer.values[0][i : i + 1], alone.values[0])
        assert alone.rows_used == 60
