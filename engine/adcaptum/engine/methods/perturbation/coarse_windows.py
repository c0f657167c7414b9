"""Windows from coarse to fine: some of their places first, what is between them interpolated.

Windows that overlap have much in common with their neighbours, so that what a window takes away is
told by those on either side of it; windows that do not overlap say nothing of each other, and all
their places are taken from the beginning. Every level halves the distance between places, and has
those of the level before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.windows import Windows
from adcaptum.engine.rows.sources import Rows, some


@dataclass(frozen=True, slots=True)
class CoarseWindows:
    """Every so many places of windows in each dimension in which they overlap, and the last.

    Attributes:
        windows: All of them.
        step: How many places on the next one is.
    """

    windows: Windows
    step: int

    @property
    def numbers(self) -> Tensor:
        """Which windows these are, ascending, int64."""
        numbers = torch.zeros(1, dtype=torch.int64)
        for count, places in zip(self.windows.counts, self._places, strict=True):
            numbers = (numbers[:, None] * count + places).flatten()
        return numbers

    def interpolated(self, values: Tensor) -> Tensor:
        """Gives every window a value: linear between the nearest places in each dimension.

        Args:
            values: Of all windows, of which those of these places are known, (rows, windows).
        """
        counts = self.windows.counts
        known = values[:, self.numbers.to(values.device)]
        known = known.reshape(len(values), *map(len, self._places))
        for count, places in zip(counts, self._places, strict=True):
            known = torch.tensordot(
                known, _between(places, count).to(known.dtype).to(known.device), ([1], [0])
            )
        return known.flatten(1)

    @property
    def _places(self) -> list[Tensor]:
        return [
            _every(count, self.step if stride < size else 1)
            for count, stride, size in zip(
                self.windows.counts, self.windows.stride, self.windows.size, strict=True
            )
        ]


def steps(windows: Sequence[Windows]) -> list[int]:
    """The steps to take, each half of the one before, down to 1: at first windows lie apart."""
    found = [1]
    while any(_apart_later(each, found[0]) for each in windows):
        found.insert(0, 2 * found[0])
    return found


def telling(windows: Sequence[Windows], step: int) -> bool:
    """Whether neighbouring windows have half of their length in common, or more.

    What changes from one picture of windows further apart to the next does not tell their errors:
    of some rows of cells such a level was off by 170 times as much.
    """
    return all(
        2 * step * stride <= size for each in windows for _, stride, size in _overlapping(each)
    )


def _apart_later(windows: Windows, step: int) -> bool:
    """Whether windows overlap in a dimension, and twice as far apart there are fewer of them."""
    return any(
        step * stride < size and count > step + 1 for count, stride, size in _overlapping(windows)
    )


def _overlapping(windows: Windows) -> list[tuple[int, int, int]]:
    """Count, stride and size of the dimensions in which windows overlap."""
    each = zip(windows.counts, windows.stride, windows.size, strict=True)
    return [(count, stride, size) for count, stride, size in each if stride < size and count > 1]


def _every(count: int, step: int) -> Tensor:
    return torch.cat([torch.arange(0, count - 1, step), torch.tensor([count - 1])])


def _between(places: Tensor, count: int) -> Tensor:
    """The share of each of the places in each of so many, float64 of shape (places, count)."""
    if len(places) == 1:
        return torch.ones(1, count, dtype=torch.float64)
    all_places = torch.arange(count)
    right = torch.searchsorted(places, all_places).clamp_min(1)
    before, after = places[right - 1], places[right]
    share = (all_places - before).double() / (after - before)
    weights = torch.zeros(len(places), count, dtype=torch.float64)
    weights[right - 1, all_places] = 1 - share
    weights[right, all_places] += share
    return weights


@dataclass(frozen=True, eq=False)
class BehindWindows(Rows):
    """Each example with the baseline seen through some windows, one a row.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        windows: The windows over each tensor.
        numbers: Of each tensor the window of each row, int64 of shape (rows,); -1: none.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    windows: tuple[Windows, ...]
    numbers: tuple[Tensor, ...]

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return len(self.numbers[0])

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return tuple(
            torch.where(
                self._covered(windows, numbers[s0:s1].to(end.device)),
                some(start, e0, e1).unsqueeze(1),
                some(end, e0, e1).unsqueeze(1),
            )
            for windows, numbers, start, end in zip(
                self.windows, self.numbers, self.starts, self.ends, strict=True
            )
        )

    def _covered(self, windows: Windows, numbers: Tensor) -> Tensor:
        inside = windows.holding(numbers.clamp_min(0))
        return inside & (numbers >= 0).view(-1, *(1,) * (inside.dim() - 1))
