"""Streaming sinks: folds of the gradients of an evaluation's rows as they arrive.

Memory is that of the result, not of the rows: it does not grow with n_steps or n_samples. Sums are
accumulated in float64 and rounded once, at the end, to float32 at least: they do not depend on how
the rows were cut into batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from adcaptum.engine.rows.accumulator import Accumulator, summable, summing_dtype, weighted
from adcaptum.engine.rows.moments import merged
from adcaptum.engine.rows.sources import Rows, blocks

_WIDE = frozenset({torch.float32, torch.float64})


class Sink(Protocol):
    """A fold of an evaluation's gradients, range by range, each row once, in any order."""

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        """Adds rows start..stop, each tensor (stop - start, *features)."""
        ...

    def result(self) -> tuple[Tensor, ...]:
        """The fold of all rows, once all have been added."""
        ...


class Reduce(ABC):
    """A way to fold the gradients of an evaluation.

    Attributes:
        with_activations: Whether the fold takes the values at the evaluation's site, too: each
            row's gradients, then its activations. The reading's activations are empty then.
    """

    with_activations: ClassVar[bool] = False

    @abstractmethod
    def sink(self, rows: Rows) -> Sink:
        """Begins a fold of the gradients at the rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack(Reduce):
    """Keeps every row: the result's tensors are (rows, *features)."""

    def sink(self, rows: Rows) -> Sink:
        return _Stacked(len(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Ignored(Reduce):
    """Keeps nothing, for rows with gradients only so that they share batches with others."""

    def sink(self, rows: Rows) -> Sink:  # noqa: ARG002 - whatever they are
        return _Nothing()


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSum(Reduce):
    """Sums each example's rows with weights: the result's tensors are (examples, *features).

    Attributes:
        weights: Of each of an example's rows, float64 of shape (per_example,).
        scale: Factors of each row's gradient, row for row; None: ones.
    """

    weights: Tensor
    scale: Rows | None = None

    def sink(self, rows: Rows) -> Sink:
        return _WeightedSums(self, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Moments(Reduce):
    """Mean and variance over each example's rows, streaming and stable (Chan et al. 1983).

    The result holds the means, then the unbiased variances, each (examples, *features).

    Attributes:
        scale: Factors of each row's gradient, row for row; None: ones.
    """

    scale: Rows | None = None

    def sink(self, rows: Rows) -> Sink:
        return _Moments(self, rows)


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of sums of a dtype: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def widened(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Converts tensors to the dtype of their sums."""
    return tuple([t if t.dtype in _WIDE else t.to(accumulator_dtype(t.dtype)) for t in tensors])


class _Stacked:
    __slots__ = ("_rows", "_whole")

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._whole: tuple[Tensor, ...] = ()

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        if stop - start == self._rows:
            self._whole = tensors
            return
        if not self._whole:
            self._whole = tuple(t.new_empty(self._rows, *t.shape[1:]) for t in tensors)
        for whole, part in zip(self._whole, tensors, strict=True):
            whole[start:stop] = part

    def result(self) -> tuple[Tensor, ...]:
        return self._whole


class _Nothing:
    __slots__ = ()

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        pass

    def result(self) -> tuple[Tensor, ...]:
        return ()


class _WeightedSums:
    __slots__ = ("_dtypes", "_reduce", "_rows", "_sums", "_weights")

    def __init__(self, reduce: WeightedSum, rows: Rows) -> None:
        self._reduce = reduce
        self._rows = rows
        self._dtypes: list[torch.dtype] = []
        self._sums: list[Accumulator] = []
        self._weights: list[Tensor] = []

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        scale = self._reduce.scale
        scaled = tensors if scale is None else _scaled(scale, start, stop, tensors)
        wide = [summable(t) for t in scaled]
        count = self._rows.count
        if not self._sums:
            self._dtypes = [accumulator_dtype(t.dtype) for t in scaled]
            self._weights = [
                self._reduce.weights.to(t.device, t.dtype, non_blocking=True) for t in wide
            ]
            if stop - start == len(self._rows):
                # All rows at once, which is how small requests come.
                shape = (count, stop // count)
                self._sums = [
                    Accumulator(weighted(w, t.view(*shape, *t.shape[1:])))
                    for w, t in zip(self._weights, wide, strict=True)
                ]
                return
            self._sums = [Accumulator(t.new_zeros(count, *t.shape[1:])) for t in wide]
        at = 0
        for e0, e1, s0, s1 in blocks(start, stop, self._rows.per_example):
            rows = (e1 - e0) * (s1 - s0)
            for total, weights, t in zip(self._sums, self._weights, wide, strict=True):
                block = t[at : at + rows].unflatten(0, (e1 - e0, s1 - s0))
                total.add(e0, e1, weighted(weights[s0:s1], block))
            at += rows

    def result(self) -> tuple[Tensor, ...]:
        return tuple(s.result(dtype) for s, dtype in zip(self._sums, self._dtypes, strict=True))


class _Moments:
    __slots__ = ("_counts", "_dtypes", "_m2", "_means", "_reduce", "_rows")

    def __init__(self, reduce: Moments, rows: Rows) -> None:
        self._reduce = reduce
        self._rows = rows
        self._counts = [0] * rows.count
        self._dtypes: list[torch.dtype] = []
        self._means: list[Tensor] = []
        self._m2: list[Tensor] = []

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        tensors = _scaled(self._reduce.scale, start, stop, tensors)
        self._dtypes = [accumulator_dtype(t.dtype) for t in tensors]
        count, each = self._rows.count, self._rows.per_example
        if stop - start == len(self._rows):
            # All rows at once, which is how small requests come.
            found = [_summary(t.unflatten(0, (count, each))) for t in tensors]
            self._means, self._m2 = [f[0] for f in found], [f[1] for f in found]
            self._counts = [each] * count
            return
        if not self._means:
            self._means = [
                t.new_zeros((count, *t.shape[1:]), dtype=summing_dtype(t)) for t in tensors
            ]
            self._m2 = [torch.zeros_like(mean) for mean in self._means]
        at = 0
        for e0, e1, s0, s1 in blocks(start, stop, each):
            new = s1 - s0
            rows = (e1 - e0) * new
            for mean, m2, tensor in zip(self._means, self._m2, tensors, strict=True):
                centres, squares = _summary(tensor[at : at + rows].unflatten(0, (e1 - e0, new)))
                # Whole examples come once: they have no samples yet.
                old = (self._counts[e0], mean[e0:e1], m2[e0:e1])
                _, mean[e0:e1], m2[e0:e1] = merged(old, (new, centres, squares))
            for e in range(e0, e1):
                self._counts[e] += new
            at += rows

    def result(self) -> tuple[Tensor, ...]:
        degrees = max(self._counts[0] - 1, 1)
        means = [m.to(dtype) for m, dtype in zip(self._means, self._dtypes, strict=True)]
        squares = [m2.to(dtype) for m2, dtype in zip(self._m2, self._dtypes, strict=True)]
        return (*means, *(m2 / degrees for m2 in squares))


def _summary(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of each example's samples, (examples, samples, *features), and the squares' sum."""
    wide = summable(samples)
    means = wide.mean(1)
    return means, (wide - means.unsqueeze(1)).square_().sum(1)


def _scaled(
    scale: Rows | None, start: int, stop: int, tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    if scale is None:
        return tuple(tensors)
    return tuple(t * by for t, by in zip(widened(tensors), scale.take(start, stop), strict=True))
