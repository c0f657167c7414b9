"""Summaries by class."""

from __future__ import annotations

import pickle
from typing import Any

import captum.attr as reference
import pytest
import torch
from torch import Tensor

from adcaptum.attr.statistics.class_summarizer import ClassSummarizer
from adcaptum.attr.statistics.stats import CommonStats, Count, Mean


def rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    return a, torch.randn(6, 3, 2, generator=generator, dtype=torch.float64)


def assert_same(got: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value)


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "a", "c", "b", "a"], [(0, 1)] * 5 + [(2, 2)], ["one"], 3, "word"],
    ids=["strings", "tuples", "list of one", "number", "string"],
)
@pytest.mark.parametrize("inputs", [1, 2])
def test_summaries_by_class_equal_captums(labels: Any, inputs: int) -> None:
    ours: ClassSummarizer[Any] = ClassSummarizer(CommonStats())
    theirs = reference.ClassSummarizer(reference.CommonStats())
    for seed in range(2):
        x = rows(seed)[0] if inputs == 1 else rows(seed)
        ours.update(x, labels)
        theirs.update(x, labels)
    assert ours.class_summaries.keys() == theirs.class_summaries.keys()
    for key, summary in theirs.class_summaries.items():
        got = ours.class_summaries[key]
        assert isinstance(got, list)
        assert_same(got, summary)
    assert isinstance(ours.summary, list)
    assert_same(ours.summary, theirs.summary)


def test_a_tensor_of_labels_counts_by_value() -> None:
    summarizer: ClassSummarizer[int] = ClassSummarizer([Count()])
    summarizer.update(rows()[0], torch.tensor([1, 0, 1, 1, 2, 0]))
    assert summarizer.class_summaries == {1: [{"count": 3}], 0: [{"count": 2}], 2: [{"count": 1}]}


def test_without_labels_the_sample_counts_as_a_whole() -> None:
    summarizer: ClassSummarizer[int] = ClassSummarizer([Mean(), Count()])
    x = rows()[0]
    summarizer.update(x)
    summary = summarizer.summary
    assert isinstance(summary, dict)
    assert summary["count"] == 1
    torch.testing.assert_close(summary["mean"], x)
    assert summarizer.class_summaries == {}


@pytest.mark.parametrize("labels", [[1, 2], [], torch.arange(7)], ids=["two", "none", "seven"])
def test_labels_of_another_number_raise(labels: Any) -> None:
    summarizer: ClassSummarizer[int] = ClassSummarizer([Mean()])
    with pytest.raises(AssertionError, match="labels"):
        summarizer.update(rows(), labels)
    assert summarizer.class_summaries == {}


def test_merging_joins_the_classes() -> None:
    whole: ClassSummarizer[str] = ClassSummarizer(CommonStats())
    parts: list[ClassSummarizer[str]] = [ClassSummarizer(CommonStats()) for _ in range(2)]
    for part, labels in zip(parts, (list("aabbab"), list("bccbcb")), strict=True):
        part.update(rows(), labels)
        whole.update(rows(), labels)
    parts[0].merge(pickle.loads(pickle.dumps(parts[1])))
    assert parts[0].class_summaries.keys() == set("abc")
    for key, summary in whole.class_summaries.items():
        got = parts[0].class_summaries[key]
        assert isinstance(got, list)
        assert isinstance(summary, list)
        assert_same(got, summary)
