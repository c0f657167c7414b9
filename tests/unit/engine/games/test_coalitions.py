"""Coalitions made on demand, and Shapley values from all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import (
    Coalitions,
    Enumerated,
    LeaveOneOut,
    Listed,
    Prefixes,
    Range,
    Toggled,
    Without,
    grand_coalition,
)
from adcaptum.engine.games.exact_values import shapley_values
from tests.games import multiplicative, noise, shapley_by_orders, smooth

CPU = torch.device("cpu")
RANKS = torch.tensor([[2, 0, 1], [0, 2, 1]], dtype=torch.int32)


def whole(coalitions: Coalitions) -> Tensor:
    return coalitions.take(0, coalitions.count, CPU)


def test_leaving_one_out_ends_with_all() -> None:
    assert whole(LeaveOneOut(2)).tolist() == [[False, True], [True, False], [True, True]]


def test_enumeration_reads_bits() -> None:
    assert whole(Enumerated(2)).tolist() == [
        [False, False],
        [True, False],
        [False, True],
        [True, True],
    ]


def test_prefixes_add_features_in_the_orders_ranks() -> None:
    assert whole(Prefixes(RANKS)).long().tolist() == [
        [0, 1, 0],
        [0, 1, 1],
        [1, 0, 0],
        [1, 0, 1],
    ]


@pytest.mark.parametrize(
    "coalitions",
    [
        Listed(torch.rand(9, 4) < 0.5),
        LeaveOneOut(6),
        Enumerated(3),
        Prefixes(torch.stack([torch.randperm(5) for _ in range(3)]).int()),
    ],
    ids=lambda c: type(c).__name__,
)
def test_a_part_is_the_same_as_in_the_whole(coalitions: Coalitions) -> None:
    everything = whole(coalitions)
    assert everything.dtype == torch.bool
    assert len(everything) == coalitions.count
    for start in range(coalitions.count):
        for stop in range(start + 1, coalitions.count + 1):
            assert torch.equal(coalitions.take(start, stop, CPU), everything[start:stop])


@pytest.mark.parametrize("players", [1, 2, 3, 5, 7])
def test_shapley_values_are_the_mean_gain_over_all_orders(players: int) -> None:
    games = torch.stack([smooth(players, 0), multiplicative(players, 1), noise(players, 2)])
    expected = torch.stack([shapley_by_orders(worths) for worths in games])
    torch.testing.assert_close(shapley_values(games), expected, rtol=1e-12, atol=1e-12)


def test_toggled_coalitions_come_as_they_are_and_with_each_feature_reversed() -> None:
    members = torch.tensor([[True, False], [False, False]])
    expected = [
        [True, False],
        [False, False],
        [True, True],
        [False, False],
        [True, False],
        [False, True],
    ]
    assert whole(Toggled(members)).tolist() == expected


@pytest.mark.parametrize("number", [0, 3, 7])
def test_coalitions_but_one_may_be_taken_in_any_parts(number: int) -> None:
    but_one = Without(Enumerated(3), number)
    every = whole(Enumerated(3))
    expected = torch.cat([every[:number], every[number + 1 :]])
    assert but_one.count == 7
    for start in range(8):
        for stop in range(start, 8):
            assert torch.equal(but_one.take(start, stop, CPU), expected[start:stop])


def test_the_coalition_of_all_is_found_where_there_is_one() -> None:
    assert grand_coalition(Enumerated(3)) == 7
    assert grand_coalition(LeaveOneOut(3)) == 3
    assert grand_coalition(Listed(torch.tensor([[True, False], [True, True]]))) == 1
    assert grand_coalition(Listed(torch.tensor([[True, False]]))) is None
    assert grand_coalition(Prefixes(RANKS)) is None


def test_some_of_a_list_know_where_the_coalition_of_all_is() -> None:
    every = Enumerated(3)
    some = Range(every, 5, 8)
    assert torch.equal(whole(some), whole(every)[5:8])
    assert torch.equal(some.take(1, 2, CPU), whole(every)[6:7])
    assert grand_coalition(some) == 2
    assert grand_coalition(Range(every, 2, 7)) is None
    assert grand_coalition(Range(Prefixes(RANKS), 0, 2)) is None
