"""Summaries of streams of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.statistics.stat import Stat, StatValue

Summary = dict[str, StatValue | None]
Sample = float | Tensor


class SummarizerSingleTensor:
    """Statistics of a stream of tensors of one shape.

    Dependencies of the given statistics are added, each once. All are copies: an instance can be
    given to any number of summarizers.
    """

    def __init__(self, stats: Sequence[Stat], summary_stats_indices: Sequence[int]) -> None:
        """Begins a stream.

        Args:
            stats: The statistics to keep, in any order.
            summary_stats_indices: Which of them the summary shows, by their places in `stats`.
        """
        self._shown = [stats[i] for i in summary_stats_indices]
        self._stats: dict[Stat, Stat] = {}
        for stat in _with_dependencies(stats):
            self._stats[stat] = stat.fresh(self)

    def update(self, x: Tensor) -> None:
        """Takes a sample."""
        for stat in self._stats.values():
            stat.update(x)

    def get(self, stat: Stat) -> Stat | None:
        """Returns the stored statistic that equals `stat`, or None."""
        return self._stats.get(stat)

    def merge(self, other: SummarizerSingleTensor) -> None:
        """Takes the samples of another summarizer of the same statistics.

        Raises:
            AssertionError: If it does not keep the same statistics.
        """
        theirs = {stat: other.get(stat) for stat in self._stats}
        for stat, their in theirs.items():
            if their is None:
                raise InvalidInput("other", f"without {stat.name}", "the same statistics")
        # Dependencies last: a statistic may need the number of samples before the merge.
        for stat, mine in reversed(self._stats.items()):
            if (their := theirs[stat]) is not None:
                mine.merge(their)

    @property
    def summary(self) -> Summary:
        """The statistics to show, by name; None for each before the first sample."""
        return {stat.name: self._stats[stat].get() for stat in self._shown}


class Summarizer:
    """Statistics of a stream of tensors, or of tuples of tensors, that may differ in shape.

    Example:
        >>> summarizer = Summarizer([Mean(), StdDev(order=1)])
        >>> for sample in stream:
        ...     summarizer.update(sample)
        >>> summarizer.summary["mean"]
    """

    def __init__(self, stats: Sequence[Stat]) -> None:
        """Begins a stream whose summary has the statistics `stats`."""
        self._stats = list(stats)
        self._summarizers: list[SummarizerSingleTensor] = []
        self._is_inputs_tuple: bool | None = None

    def update(self, x: Sample | tuple[Sample, ...]) -> None:
        """Takes a sample: a tensor or a float, or a tuple of them. Floats are taken as float64.

        Raises:
            AssertionError: If it is neither, or is a tuple where samples before were not, or the
                reverse.
        """
        if not isinstance(x, Tensor | float | tuple):
            raise InvalidInput(
                "x", f"a {type(x).__name__}", "a tensor, a float, or a tuple of them"
            )
        self._begin(is_tuple=isinstance(x, tuple))
        samples = x if isinstance(x, tuple) else (x,)
        self._grow(len(samples))
        for summarizer, sample in zip(self._summarizers, samples, strict=False):
            summarizer.update(_as_tensor(sample))

    def merge(self, other: Summarizer) -> None:
        """Takes the samples of another summarizer of the same statistics.

        The result is that of one summarizer for both streams, so that parts of a stream can be
        summarised apart.

        Raises:
            AssertionError: If the statistics differ, or one takes tuples and the other does not.
        """
        if other._is_inputs_tuple is None:
            return
        self._begin(is_tuple=other._is_inputs_tuple)
        self._grow(len(other._summarizers))
        for mine, theirs in zip(self._summarizers, other._summarizers, strict=False):
            mine.merge(theirs)

    @property
    def summary(self) -> Summary | list[Summary] | None:
        """The statistics by name; a list of them for tuples; None before the first sample."""
        if not self._summarizers:
            return None
        summaries = [summarizer.summary for summarizer in self._summarizers]
        return summaries if self._is_inputs_tuple else summaries[0]

    def _begin(self, *, is_tuple: bool) -> None:
        if self._is_inputs_tuple not in (None, is_tuple):
            now, before = ("a tuple", "no tuples") if is_tuple else ("no tuple", "tuples")
            raise InvalidInput("x", now, f"samples before were {before}, and must stay so")
        self._is_inputs_tuple = is_tuple

    def _grow(self, count: int) -> None:
        shown = range(len(self._stats))
        while len(self._summarizers) < count:
            self._summarizers.append(SummarizerSingleTensor(self._stats, shown))


def _with_dependencies(stats: Iterable[Stat]) -> list[Stat]:
    """Returns the statistics and their dependencies, each once, dependencies first."""
    ordered: dict[Stat, None] = {}

    def add(stat: Stat) -> None:
        if stat not in ordered:
            for dependency in stat.dependencies:
                add(dependency)
            ordered[stat] = None

    for stat in stats:
        add(stat)
    return list(ordered)


def _as_tensor(sample: Sample) -> Tensor:
    return sample if isinstance(sample, Tensor) else torch.tensor(sample, dtype=torch.float64)
