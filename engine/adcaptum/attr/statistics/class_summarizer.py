"""Summaries by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.statistics.stat import Stat
from adcaptum.attr.statistics.summarizer import Sample, Summarizer, Summary

KeyType = TypeVar("KeyType", bound=Hashable)


class ClassSummarizer(Summarizer, Generic[KeyType]):
    """A summary of all rows, and one of the rows of each class.

    Attributes:
        summaries: A summarizer for each class that occurred.
    """

    def __init__(self, stats: Sequence[Stat]) -> None:
        """Begins a stream whose summaries have the statistics `stats`."""
        super().__init__(stats)
        self.summaries: dict[KeyType, Summarizer] = defaultdict(partial(Summarizer, stats))

    def update(self, x: Sample | tuple[Sample, ...], labels: Any = None) -> None:
        """Takes rows of known classes, or a sample that counts for the whole only.

        With labels each row is a sample, and samples are tuples: the summaries are lists, also
        where x is a single tensor.

        Args:
            x: Without labels a sample; with labels a tensor (rows, *features), or a tuple of them.
            labels: The rows' classes, a list or a tensor of one dimension; of length one, or
                anything else that a dictionary takes as key, it is the class of all rows.

        Raises:
            AssertionError: If there are neither one label nor as many as rows.
        """
        if labels is None:
            super().update(x)
            return
        tensors = x if isinstance(x, tuple) else (x,)
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise InvalidInput(
                "x", f"a {type(x).__name__}", "a tensor or a tuple of them where there are labels"
            )
        columns = cast("tuple[Tensor, ...]", tensors)
        keys = _keys(labels)
        rows = len(columns[0])
        if len(keys) == 1:
            keys = keys * rows
        if any(len(column) != len(keys) for column in columns):
            raise InvalidInput(
                "labels",
                f"of length {len(keys)}",
                f"one, or one for each row of {[len(column) for column in columns]}",
            )
        for i, key in enumerate(keys):
            row = tuple(column[i] for column in columns)
            super().update(row)
            self.summaries[key].update(row)

    def merge(self, other: Summarizer) -> None:
        super().merge(other)
        if isinstance(other, ClassSummarizer):
            for key, summarizer in other.summaries.items():
                self.summaries[key].merge(summarizer)

    @property
    def class_summaries(self) -> dict[KeyType, Summary | list[Summary] | None]:
        """The summary of each class that occurred."""
        return {key: summarizer.summary for key, summarizer in self.summaries.items()}


def _keys(labels: Any) -> list[Any]:
    # Tensors are hashed by identity, labels by value.
    if isinstance(labels, Tensor):
        labels = labels.tolist()
    return [_key(label) for label in labels] if isinstance(labels, list) else [labels]


def _key(label: Any) -> Any:
    if isinstance(label, Tensor):
        label = label.tolist()
    return tuple(label) if isinstance(label, list) else label
