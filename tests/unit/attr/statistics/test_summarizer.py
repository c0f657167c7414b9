"""Summaries of streams of tensors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import captum.attr as reference
import numpy as np
import pytest
import torch
from torch import Tensor

from adcaptum.attr.statistics.stat import Stat
from adcaptum.attr.statistics.stats import (
    MSE,
    CommonStats,
    Count,
    Max,
    Mean,
    Min,
    StdDev,
    Sum,
    Var,
)
from adcaptum.attr.statistics.summarizer import Summarizer, SummarizerSingleTensor

ALL: list[tuple[Any, Any]] = [
    (Mean(), reference.Mean()),
    (MSE(), reference.MSE()),
    (Var(), reference.Var()),
    (Var(order=1), reference.Var(order=1)),
    (Var(order=3), reference.Var(order=3)),
    (StdDev(), reference.StdDev()),
    (StdDev(order=1), reference.StdDev(order=1)),
    (Min(), reference.Min()),
    (Max(), reference.Max()),
    (Sum(), reference.Sum()),
    (Count(), reference.Count()),
]


def stream(samples: int, *shape: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1 for _ in range(samples)
    ]


def summarised(samples: list[Any], *stats: Stat) -> dict[str, Any]:
    summarizer = Summarizer(list(stats))
    for sample in samples:
        summarizer.update(sample)
    summary = summarizer.summary
    assert isinstance(summary, dict)
    return summary


@pytest.mark.parametrize("samples", [1, 2, 3, 40])
def test_summaries_equal_captums(samples: int) -> None:
    ours, theirs = Summarizer([s for s, _ in ALL]), reference.Summarizer([s for _, s in ALL])
    for sample in stream(samples, 2, 3):
        ours.update(sample)
        theirs.update(sample)
    got, wanted = ours.summary, theirs.summary
    assert isinstance(got, dict)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(torch.as_tensor(got[name]), torch.as_tensor(value))


@pytest.mark.parametrize(("ours", "theirs"), ALL, ids=lambda stat: stat.name)
def test_each_statistic_alone_has_captums_name_and_value(ours: Stat, theirs: Any) -> None:
    samples = stream(7, 4)
    summarizer = reference.Summarizer([theirs])
    for sample in samples:
        summarizer.update(sample)
    got = summarised(samples, ours)
    assert got.keys() == summarizer.summary.keys()
    torch.testing.assert_close(
        torch.as_tensor(got[ours.name]), torch.as_tensor(summarizer.summary[theirs.name])
    )


def test_a_standard_deviations_order_stands_in_brackets() -> None:
    assert StdDev(order=2).name == "std_dev(2)"


@pytest.mark.parametrize("order", [0, 1])
def test_the_variance_does_not_cancel_far_from_zero(order: int) -> None:
    values = 1e8 + np.random.default_rng(3).normal(scale=1e-3, size=(2000, 2))
    got = summarised([torch.tensor(v) for v in values], Var(name="var", order=order))["var"]
    # Exact in the differences, which float64 holds.
    wanted = (values - 1e8).var(axis=0, ddof=order)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4)


def test_float32_samples_are_accumulated_in_float64() -> None:
    values = (1000 + np.random.default_rng(4).normal(scale=0.01, size=5000)).astype(np.float32)
    got = summarised([torch.tensor(v) for v in values], Mean(), Sum(), Var())
    wide = values.astype(np.float64)
    assert got["mean"].dtype is torch.float32
    assert got["mean"].item() == np.float32(wide.mean())
    assert got["sum"].item() == np.float32(wide.sum())
    np.testing.assert_allclose(got["variance"].item(), wide.var(), rtol=1e-9)


def test_half_precision_samples_have_float32_results() -> None:
    got = summarised([torch.full((2,), 300.0, dtype=torch.float16)] * 300, Sum(), Mean())
    assert got["sum"].tolist() == [90_000.0] * 2
    assert {t.dtype for t in got.values()} == {torch.float32}


def test_integers_are_summed_without_overflow() -> None:
    samples = [torch.tensor([200, 1], dtype=torch.uint8)] * 3
    got = summarised(samples, Sum(), Mean(), Max())
    assert got["sum"].tolist() == [600, 3]
    assert got["sum"].dtype is torch.int64
    assert got["mean"].tolist() == [200.0, 1.0]
    assert got["max"].dtype is torch.uint8


def test_floats_are_summarised_in_double_precision() -> None:
    got = summarised([0.1, 0.2], Mean(), Count())
    assert got["mean"].item() == pytest.approx(0.15, abs=1e-16)
    assert got["count"] == 2


def test_only_requested_statistics_appear_and_in_the_requested_order() -> None:
    assert list(summarised(stream(2, 1), StdDev(order=1), Count())) == ["sample_std_dev", "count"]


def test_equal_statistics_of_two_names_both_appear() -> None:
    got = summarised(stream(3, 1), Mean("a"), Mean("b"))
    assert got["a"] == got["b"]


def test_statistics_share_what_they_build_on() -> None:
    single = SummarizerSingleTensor([StdDev(), Var(), Mean(), MSE()], [0, 1, 2, 3])
    assert single.get(Var()) is single.get(Var(name="another name"))
    assert single.get(Var(order=1)) is None


def test_a_single_tensors_summarizer_shows_what_the_indices_say() -> None:
    single = SummarizerSingleTensor([Count(), Mean(), Max()], [2, 0])
    single.update(torch.tensor([1.0]))
    assert single.summary == {"max": torch.tensor([1.0]), "count": 1}


def test_there_is_no_summary_before_the_first_sample() -> None:
    assert Summarizer(CommonStats()).summary is None
    assert SummarizerSingleTensor([Mean(), Sum(), StdDev(), Count()], [0, 1, 2, 3]).summary == {
        "mean": None,
        "sum": None,
        "std_dev": None,
        "count": None,
    }


def test_tuples_have_a_summary_for_each_tensor() -> None:
    summarizer = Summarizer(CommonStats())
    for a, b in zip(stream(4, 2), stream(4, 3, 1, seed=1), strict=True):
        summarizer.update((a, b))
    summary = summarizer.summary
    assert isinstance(summary, list)
    assert [{torch.as_tensor(v).shape for v in one.values()} for one in summary] == [
        {(2,)},
        {(3, 1)},
    ]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (torch.ones(1), (torch.ones(1),)),
        ((torch.ones(1),), torch.ones(1)),
        (torch.ones(1), [torch.ones(1)]),
        (torch.ones(1), None),
    ],
    ids=["tensor, tuple", "tuple, tensor", "list", "None"],
)
def test_samples_of_another_container_raise_as_in_captum(first: Any, then: Any) -> None:
    summarizers: list[Any] = [Summarizer([Mean()]), reference.Summarizer([reference.Mean()])]
    for summarizer in summarizers:
        summarizer.update(first)
        with pytest.raises(AssertionError):
            summarizer.update(then)


def test_a_statistic_given_to_two_summarizers_serves_both() -> None:
    stats = CommonStats()
    single = [SummarizerSingleTensor(stats, range(len(stats))) for _ in range(2)]
    for scale, summarizer in zip((1.0, -5.0), single, strict=True):
        for sample in stream(5, 2):
            summarizer.update(sample * scale)
    alone = summarised([-5.0 * sample for sample in stream(5, 2)], *CommonStats())
    for name, value in alone.items():
        assert torch.equal(torch.as_tensor(single[1].summary[name]), value)


def test_a_statistic_that_has_seen_samples_begins_anew() -> None:
    used = Max()
    used.update(torch.tensor([9.0]))
    kept = SummarizerSingleTensor([Mean()], [0])
    kept.update(torch.tensor([5.0]))
    mean = kept.get(Mean())
    assert mean is not None
    got = summarised([torch.tensor([1.0])], used, mean)
    assert (got["max"].item(), got["mean"].item()) == (1.0, 1.0)
    assert kept.summary["mean"] == torch.tensor([5.0])


def test_summaries_do_not_change_when_samples_do() -> None:
    sample = torch.tensor([1.0, 2.0], requires_grad=True)
    summarizer = Summarizer(CommonStats())
    summarizer.update(sample)
    before = copy.deepcopy(summarizer.summary)
    with torch.no_grad():
        sample.add_(10)
    after = summarizer.summary
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for name, value in before.items():
        assert torch.equal(torch.as_tensor(after[name]), torch.as_tensor(value))
        assert not torch.as_tensor(after[name]).requires_grad


def test_a_summary_taken_stays_as_it_was_when_samples_follow() -> None:
    samples = stream(4, 3)
    summarizer = Summarizer([stat for stat, _ in ALL])
    for sample in samples[:2]:
        summarizer.update(sample)
    early = summarizer.summary
    assert isinstance(early, dict)
    summarizer.update(samples[2])
    for name, value in summarised(samples[:2], *(stat for stat, _ in ALL)).items():
        assert torch.equal(torch.as_tensor(early[name]), torch.as_tensor(value)), name


@pytest.mark.parametrize("cut", [0, 1, 5, 12])
def test_merged_summaries_are_those_of_the_whole_stream(cut: int) -> None:
    stats = [stat for stat, _ in ALL]
    samples = [(a, b) for a, b in zip(stream(12, 3), stream(12, 2, 2, seed=1), strict=True)]
    whole, left, right = Summarizer(stats), Summarizer(stats), Summarizer(stats)
    for i, sample in enumerate(samples):
        whole.update(sample)
        (left if i < cut else right).update(sample)
    left.merge(pickle.loads(pickle.dumps(right)))
    assert isinstance(left.summary, list)
    assert isinstance(whole.summary, list)
    for got, wanted in zip(left.summary, whole.summary, strict=True):
        for name, value in wanted.items():
            torch.testing.assert_close(torch.as_tensor(got[name]), torch.as_tensor(value))


def test_a_merged_summarizer_goes_on() -> None:
    a, b, c = stream(3, 2)
    left, right = Summarizer([Mean(), Count()]), Summarizer([Mean(), Count()])
    left.update(a)
    right.update(b)
    left.merge(right)
    left.update(c)
    kept, summary = right.summary, left.summary
    assert isinstance(kept, dict)
    assert isinstance(summary, dict)
    torch.testing.assert_close(kept["mean"], b)
    torch.testing.assert_close(summary["mean"], (a + b + c) / 3)
    assert (kept["count"], summary["count"]) == (1, 3)


@pytest.mark.parametrize(
    "other",
    [lambda: _seen(Max(), torch.ones(1)), lambda: _seen(Mean(), (torch.ones(1),))],
    ids=["other statistics", "tuples"],
)
def test_summarizers_that_do_not_fit_cannot_be_merged(other: Callable[[], Summarizer]) -> None:
    with pytest.raises(AssertionError):
        _seen(Mean(), torch.ones(1)).merge(other())


def _seen(stat: Stat, sample: Any) -> Summarizer:
    summarizer = Summarizer([stat])
    summarizer.update(sample)
    return summarizer


class Range(Stat):
    """A user's own: the greatest less the least."""

    @property
    def dependencies(self) -> tuple[Stat, ...]:
        return (Min(), Max())

    def update(self, x: Tensor) -> None:
        pass

    def get(self) -> Tensor | None:
        least, greatest = self._get_stat(Min()), self._get_stat(Max())
        assert least is not None
        assert greatest is not None
        low, high = least.get(), greatest.get()
        return None if low is None or high is None else high - low


def test_a_statistic_of_ones_own_can_build_on_others() -> None:
    got = summarised([torch.tensor([1.0, 5.0]), torch.tensor([4.0, 3.0])], Range())
    assert got["range"].tolist() == [3.0, 2.0]
    assert list(got) == ["range"]


def test_a_statistic_outside_a_summarizer_says_what_it_needs() -> None:
    with pytest.raises(AssertionError, match="mean is outside a summarizer"):
        Mean().get()


def test_functions_of_ones_own_are_statistics_of_their_own() -> None:
    samples = [torch.tensor([1.0]), torch.tensor([-3.0])]
    by_size = Max("largest", max_fn=lambda a, b: torch.where(a.abs() > b.abs(), a, b))
    assert summarised(samples, Max(), by_size) == {
        "max": torch.tensor([1.0]),
        "largest": torch.tensor([-3.0]),
    }
