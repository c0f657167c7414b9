"""Windows that slide over a tensor in strides."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """Boxes of one size at regular places; those at the far ends are cut off at the border.

    Every element lies in a window, because no stride is larger than the window.

    Attributes:
        shape: The tensor's shape without examples.
        size: The boxes' length in each dimension.
        stride: The distance between neighbours in each dimension.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of places in each dimension."""
        return tuple(
            ceil((whole - size) / stride) + 1
            for whole, size, stride in zip(self.shape, self.size, self.stride, strict=True)
        )

    @property
    def count(self) -> int:
        """The number of windows; the last dimension's place changes fastest."""
        return prod(self.counts)

    def inside(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Masks of the elements that lie in windows start..stop.

        Args:
            start: The first window; numbers below 0 or from `count` on are windows that hold
                nothing.
            stop: The first window after the last.
            device: The device of the answer.

        Returns:
            bool of a shape that broadcasts to (stop - start, *shape).
        """
        first, last = max(start, 0), min(stop, self.count)
        inside = self._holding(torch.arange(first, max(first, last), device=device))
        if (first, last) == (start, stop):
            return inside
        whole = inside.new_zeros(stop - start, *inside.shape[1:])
        whole[first - start : first - start + len(inside)] = inside
        return whole

    def average(self, values: Tensor) -> Tensor:
        """Gives each element the mean of the values of the windows that it lies in.

        Args:
            values: Of shape (rows, count).

        Returns:
            Of shape (rows, *shape).
        """
        # Boxes on a grid: the sum over the windows of an element is a sum over each dimension's
        # places in turn, and so is their number.
        counts = self.counts
        means = values if len(counts) == 1 else values.reshape(len(values), *counts)
        for k, count in enumerate(counts):
            holds = self._holds(k, torch.arange(count, device=values.device)).to(values.dtype)
            shares = holds / holds.sum(0)
            means = (
                means @ shares if len(counts) == 1 else torch.tensordot(means, shares, ([1], [0]))
            )
        return means

    def _holding(self, numbers: Tensor) -> Tensor:
        """Masks of the elements that lie in some windows.

        Args:
            numbers: The windows', int64.

        Returns:
            bool of a shape that broadcasts to (numbers, *shape).
        """
        counts = self.counts
        ones = (1,) * len(self.shape)
        inside = torch.ones(len(numbers), *ones, dtype=torch.bool, device=numbers.device)
        several = [k for k, count in enumerate(counts) if count > 1]
        rest = numbers
        for k in reversed(several):
            # The rest is the place in the foremost dimension.
            places = rest if k == several[0] else rest.remainder(counts[k])
            holds = self._holds(k, places).view(-1, *ones[:k], self.shape[k], *ones[k + 1 :])
            inside = holds if k == several[-1] else inside & holds
            if k != several[0]:
                rest = rest.div(counts[k], rounding_mode="floor")
        return inside

    def _holds(self, k: int, places: Tensor) -> Tensor:
        """Masks of the indices of dimension k in the windows at those places, (places, indices)."""
        indices = torch.arange(self.shape[k], device=places.device)
        offsets = indices - places[:, None] * self.stride[k]
        return (offsets >= 0) & (offsets < self.size[k])
