"""Rows in which features come from other examples."""

from __future__ import annotations

import torch

from adcaptum.engine import Explicand
from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.perturbation.permutations import Permuted, donors
from adcaptum.engine.rows.randomness import keys
from tests.models import numbers


def test_donors_are_permutations_and_never_that_of_no_change() -> None:
    for count in (2, 3, 5):
        made = donors(3, torch.arange(200), count)
        assert torch.equal(made.sort(1).values, torch.arange(count).expand(200, -1))
        assert not (made == torch.arange(count)).all(1).any()


def test_all_permutations_of_three_but_one_are_as_likely() -> None:
    made = donors(11, torch.arange(5000), 3)
    kinds, counts = made.unique(dim=0, return_counts=True)
    assert len(kinds) == 5
    assert (counts - 1000).abs().max() < 120  # four standard deviations


def test_rows_do_not_depend_on_how_they_are_cut() -> None:
    x = (numbers(4, 3), numbers(4, 2, 2, seed=1))
    mask = (torch.tensor([[0, 1, 1]]), torch.tensor([[[1, 2], [2, 2]]]))
    features = Features.of(Explicand.of(x, feature_mask=mask), x)
    rows = Permuted(x, features, seed=5)
    whole = rows.take(0, len(rows))
    for size in (1, 3, 7):
        parts = [rows.take(a, min(a + size, len(rows))) for a in range(0, len(rows), size)]
        for i in range(2):
            assert torch.equal(torch.cat([p[i] for p in parts]), whole[i])


def test_a_row_has_one_feature_of_its_donor_and_the_last_is_the_example() -> None:
    x = numbers(4, 3)
    features = Features.of(Explicand.of(x), (x,))
    (made,) = Permuted((x,), features, seed=5).take(0, 16)
    made = made.view(4, 4, 3)
    assert torch.equal(made[:, 3], x)
    givers = donors(5, torch.arange(3), 4)
    for feature in range(3):
        expected = x.clone()
        expected[:, feature] = x[givers[feature], feature]
        assert torch.equal(made[:, feature], expected)


def test_keys_are_spread_evenly_and_depend_on_seed_and_stream() -> None:
    samples = torch.arange(20_000)
    drawn = keys(1, 2, samples)
    assert (drawn >= 0).all()
    for bit in range(63):
        assert abs((drawn >> bit & 1).double().mean() - 0.5) < 0.018  # five standard deviations
    assert not torch.equal(drawn, keys(2, 2, samples))
    assert not torch.equal(drawn, keys(1, 3, samples))
