"""A streaming fold into sums of groups of an example's rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.accumulator import Accumulator, summable
from adcaptum.engine.rows.reduce import Reduce, Sink, accumulator_dtype
from adcaptum.engine.rows.sources import Rows


@dataclass(frozen=True, slots=True, eq=False)
class GroupedSums(Reduce):
    """Sums the rows of each group: the result's tensors are (examples, groups, *features).

    Attributes:
        groups: The number of groups: the first rows of an example are the first group, as many
            the next, and so on.
        scale: Factors of each row's gradient, row for row; None: ones.
    """

    groups: int
    scale: Rows | None = None

    def sink(self, rows: Rows) -> Sink:
        return _GroupedSums(self, rows)


class _GroupedSums:
    __slots__ = ("_dtypes", "_reduce", "_rows", "_sums")

    def __init__(self, reduce: GroupedSums, rows: Rows) -> None:
        self._reduce = reduce
        self._rows = rows
        self._dtypes: list[torch.dtype] = []
        self._sums: list[Accumulator] = []

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        scale = self._reduce.scale
        wide = [summable(t) for t in tensors]
        if scale is not None:
            wide = [t * by for t, by in zip(wide, scale.take(start, stop), strict=True)]
        groups = self._rows.count * self._reduce.groups
        if not self._sums:
            self._dtypes = [accumulator_dtype(t.dtype) for t in tensors]
            self._sums = [Accumulator(t.new_zeros(groups, *t.shape[1:])) for t in wide]
        each = len(self._rows) // groups
        # Groups follow each other: one sum for each that these rows touch.
        for group in range(start // each, (stop - 1) // each + 1):
            low, high = max(start, group * each) - start, min(stop, (group + 1) * each) - start
            for total, t in zip(self._sums, wide, strict=True):
                total.add(group, group + 1, t[low:high].sum(0, keepdim=True))

    def result(self) -> tuple[Tensor, ...]:
        sums = [s.result(dtype) for s, dtype in zip(self._sums, self._dtypes, strict=True)]
        return tuple(t.unflatten(0, (self._rows.count, -1)) for t in sums)
