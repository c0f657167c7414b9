"""A streaming fold into sums of groups of an example's rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.reduce import Reduce, Sink, accumulator_dtype
from adcaptum.engine.rows.sources import Rows


@dataclass(frozen=True, slots=True, eq=False)
class GroupedSums(Reduce):
    """Sums the rows of each group: the result's tensors are (examples, groups, *features).

    Attributes:
        groups: How many groups there are: the first rows of an example are the first group, as many
            the next, and so on.
        scale: What to multiply each row's gradient with, row for row; None: nothing.
    """

    groups: int
    scale: Rows | None = None

    def sink(self, rows: Rows) -> Sink:
        return _GroupedSums(self, rows)


class _GroupedSums:
    __slots__ = ("_reduce", "_rows", "_sums")

    def __init__(self, reduce: GroupedSums, rows: Rows) -> None:
        self._reduce = reduce
        self._rows = rows
        self._sums: list[Tensor] = []

    def add(self, start: int, stop: int, tensors: tuple[Tensor, ...]) -> None:
        scale = self._reduce.scale
        by = scale.take(start, stop) if scale is not None else (None,) * len(tensors)
        groups = self._rows.count * self._reduce.groups
        if not self._sums:
            self._sums = [
                t.new_zeros((groups, *t.shape[1:]), dtype=accumulator_dtype(t.dtype))
                for t in tensors
            ]
        each = len(self._rows) // groups
        first, last = start // each, (stop - 1) // each + 1
        of_row = torch.arange(start, stop).div(each, rounding_mode="floor")
        member = of_row == torch.arange(first, last)[:, None]
        for total, t, factor in zip(self._sums, tensors, by, strict=True):
            wide = t.to(total.dtype)
            scaled = wide if factor is None else wide * factor
            share = member.to(device=t.device, dtype=total.dtype)
            part = share @ scaled.reshape(stop - start, -1)
            total[first:last] += part.view(last - first, *t.shape[1:])

    def result(self) -> tuple[Tensor, ...]:
        return tuple(t.unflatten(0, (self._rows.count, -1)) for t in self._sums)
