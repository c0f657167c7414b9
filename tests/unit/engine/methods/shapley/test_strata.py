"""Which pairs of coalitions are evaluated."""

from __future__ import annotations

from math import comb

import pytest
import torch

from adcaptum.engine.methods.shapley.strata import PairedSample


@pytest.mark.parametrize("features", range(2, 11))
def test_enough_pairs_are_all_of_them_with_the_kernels_weights(features: int) -> None:
    pairs = 2 ** (features - 1) - 1
    sample = PairedSample.draw(features, pairs, seed=0)
    both = torch.cat([sample.members, ~sample.members])
    assert len(torch.unique(both, dim=0)) == 2 * pairs
    weights = (sample.masses / torch.bincount(sample.strata))[sample.strata]
    sizes = sample.members.sum(1)
    kernel = torch.tensor([1 / (comb(features, s) * s * (features - s)) for s in sizes.tolist()])
    torch.testing.assert_close(weights / weights.sum(), kernel.double() / kernel.sum())


@pytest.mark.parametrize(
    ("features", "pairs"), [(6, 20), (9, 40), (12, 700), (30, 1000), (90, 300)]
)
def test_pairs_are_distinct_of_the_number_wanted_and_the_smaller_coalition(
    features: int, pairs: int
) -> None:
    sample = PairedSample.draw(features, pairs, seed=3)
    both = torch.cat([sample.members, ~sample.members])
    assert both.shape == (2 * pairs, features)
    assert len(torch.unique(both, dim=0)) == 2 * pairs
    assert int(sample.members.sum(1).max()) <= features // 2
    assert int(sample.members.sum(1).min()) >= 1
    assert float(sample.masses.sum()) == pytest.approx(1)


def test_small_sizes_are_evaluated_whole_where_the_number_of_pairs_allows() -> None:
    sample = PairedSample.draw(12, 300, seed=0)
    sizes = sample.members.sum(1)
    assert [int((sizes == s).sum()) for s in (1, 2)] == [12, 66]
    assert int((sizes == 3).sum()) < comb(12, 3)


def test_each_size_comes_as_often_as_the_kernel_says() -> None:
    features, pairs = 60, 4000
    sizes = PairedSample.draw(features, pairs, seed=0).members.sum(1)
    # Sizes 1 and 2 are evaluated whole; the others share what is left.
    masses = torch.tensor([(2 - (2 * s == 60)) / (s * (60 - s)) for s in range(3, 31)])
    left = pairs - int((sizes <= 2).sum())
    counts = torch.bincount(sizes, minlength=31)[3:31]
    expected = left * masses / masses.sum()
    assert float((counts - expected).abs().max()) <= 2


@pytest.mark.parametrize("features", [5, 6])
def test_every_coalition_of_a_size_is_as_likely(features: int) -> None:
    pairs = 2 ** (features - 2)
    seen: dict[tuple[bool, ...], int] = {}
    draws = 2000
    for seed in range(draws):
        for row in PairedSample.draw(features, pairs, seed).members.tolist():
            seen[tuple(row)] = seen.get(tuple(row), 0) + 1
    for size in range(1, features // 2 + 1):
        counts = torch.tensor([float(n) for row, n in seen.items() if sum(row) == size])
        possible = comb(features, size) // (2 if 2 * size == features else 1)
        assert len(counts) == possible
        share = counts / draws
        assert float((share - share.mean()).abs().max()) < 5 * (0.25 / draws) ** 0.5


def test_the_first_pairs_hold_some_of_every_stratum() -> None:
    sample = PairedSample.draw(30, 1000, seed=0)
    early = sample.first(128)
    assert len(early.members) == 128
    assert len(torch.unique(early.strata)) == len(sample.masses)


def test_the_sample_is_the_seeds() -> None:
    one, same, other = (PairedSample.draw(20, 200, seed) for seed in (4, 4, 5))
    assert torch.equal(one.members, same.members)
    assert not torch.equal(one.members, other.members)


@pytest.mark.parametrize(("features", "pairs"), [(6, 12), (9, 40), (31, 600), (60, 200), (90, 180)])
def test_by_leverage_every_size_comes_as_often(features: int, pairs: int) -> None:
    sample = PairedSample.draw(features, pairs, 0, "leverage")
    both = torch.cat([sample.members, ~sample.members])
    assert len(torch.unique(both, dim=0)) == 2 * pairs
    counts = torch.bincount(both.sum(1), minlength=features)[1:features].double()
    # But for sizes that have no more, which are whole.
    limits = torch.tensor([float(comb(features, s)) for s in range(1, features)])
    rest = counts[counts < limits]
    assert float(rest.max() - rest.min()) <= 2 + 1e-9


@pytest.mark.parametrize("features", [5, 8])
def test_by_leverage_too_enough_pairs_are_all_of_them_with_the_kernels_weights(
    features: int,
) -> None:
    pairs = 2 ** (features - 1) - 1
    sample = PairedSample.draw(features, pairs, 0, "leverage")
    weights = (sample.masses / torch.bincount(sample.strata))[sample.strata]
    sizes = sample.members.sum(1)
    kernel = torch.tensor([1 / (comb(features, s) * s * (features - s)) for s in sizes.tolist()])
    torch.testing.assert_close(weights / weights.sum(), kernel.double() / kernel.sum())


def test_by_leverage_each_stratum_is_a_size_with_pairs_enough_to_tell_a_variance() -> None:
    for features in range(4, 80):
        sample = PairedSample.draw(
            features, min(2 * features, 2 ** (features - 1) - 1), 0, "leverage"
        )
        assert len(sample.masses) == features // 2
        drawn = torch.bincount(sample.strata).double()
        assert bool(((drawn >= 2) | (drawn == sample.populations)).all())
