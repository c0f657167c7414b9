"""A streaming fold along a path: each row's gradient times the step to the next row's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.rows.accumulator import Accumulator, summable
from adcaptum.engine.rows.reduce import Reduce, Sink, accumulator_dtype
from adcaptum.engine.rows.sources import Rows, blocks

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Increments(Reduce):
    """Sums grad[k] * (value[k + 1] - value[k]) over an example's rows, (examples, *features).

    Rows may be cut and arrive as they like. Only the rows at open cuts are kept: in order, one.

    Attributes:
        first: The first of each example's rows that counts.
        last: The one behind the last that counts.
    """

    with_activations: ClassVar[bool] = True

    first: int
    last: int

    def sink(self, rows: Rows) -> Sink:
        return _Increments(self, rows)


class _Increments:
    __slots__ = ("_arrived", "_dtypes", "_reduce", "_rows", "_sums", "_waiting")

    def __init__(self, reduce: Increments, rows: Rows) -> None:
        self._reduce = reduce
        self._rows = rows
        self._dtypes: list[torch.dtype] = []
        self._sums: list[Accumulator] = []
        # By example and row: values whose predecessor is not there yet, and gradients and values
        # whose successor is not.
        self._arrived: dict[tuple[int, int], Tensors] = {}
        self._waiting: dict[tuple[int, int], tuple[Tensors, Tensors]] = {}

    def add(self, start: int, stop: int, tensors: Tensors) -> None:
        half = len(tensors) // 2
        if not self._sums:
            count = self._rows.count
            self._dtypes = [accumulator_dtype(t.dtype) for t in tensors[:half]]
            self._sums = [
                Accumulator(summable(t.new_zeros(count, *t.shape[1:]))) for t in tensors[:half]
            ]
        at = 0
        for e0, e1, s0, s1 in blocks(start, stop, self._rows.per_example):
            size = (e1 - e0) * (s1 - s0)
            low, high = max(s0, self._reduce.first), min(s1, self._reduce.last)
            if low < high:
                block = tuple(
                    summable(
                        t[at : at + size].unflatten(0, (e1 - e0, s1 - s0))[:, low - s0 : high - s0]
                    )
                    for t in tensors
                )
                self._add_block(e0, e1, block[:half], block[half:])
                self._join(e0, low, high, block[:half], block[half:])
            at += size

    def result(self) -> Tensors:
        assert not self._waiting, "every row has arrived"
        return tuple(s.result(dtype) for s, dtype in zip(self._sums, self._dtypes, strict=True))

    def _add_block(self, e0: int, e1: int, gradients: Tensors, values: Tensors) -> None:
        """Adds the steps inside a block, each tensor (examples, samples, *features)."""
        for total, g, v in zip(self._sums, gradients, values, strict=True):
            total.add(e0, e1, (g[:, :-1] * v.diff(dim=1)).sum(1))

    def _join(self, e: int, low: int, high: int, gradients: Tensors, values: Tensors) -> None:
        """Adds the steps between this block and its neighbours, or keeps its ends for them."""
        if low > self._reduce.first:
            before = self._waiting.pop((e, low), None)
            if before is None:
                self._arrived[e, low] = tuple(v[0, 0].clone() for v in values)
            else:
                self._step(e, *before, tuple(v[0, 0] for v in values))
        if high < self._reduce.last:
            after = self._arrived.pop((e, high), None)
            ends = tuple(g[0, -1] for g in gradients), tuple(v[0, -1] for v in values)
            if after is None:
                g, v = ends
                self._waiting[e, high] = (_copied(g), _copied(v))
            else:
                self._step(e, *ends, after)

    def _step(self, e: int, gradients: Tensors, values: Tensors, following: Tensors) -> None:
        for total, g, v, w in zip(self._sums, gradients, values, following, strict=True):
            total.add(e, e + 1, (g * (w - v))[None])


def _copied(tensors: Tensors) -> Tensors:
    """Copies, which do not keep the batch alive that they are views of."""
    return tuple(torch.clone(t) for t in tensors)
