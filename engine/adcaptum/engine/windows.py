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
        stride: How far apart they are in each dimension.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many places there are in each dimension."""
        return tuple(
            ceil((whole - size) / stride) + 1
            for whole, size, stride in zip(self.shape, self.size, self.stride, strict=True)
        )

    @property
    def count(self) -> int:
        """How many windows there are; the last dimension's place changes fastest."""
        return prod(self.counts)

    def inside(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Says which elements lie in windows start..stop.

        Args:
            start: The first window; numbers below 0 or from `count` on are windows that hold
                nothing.
            stop: The first window after the last.
            device: Where to make the answer.

        Returns:
            bool of a shape that broadcasts to (stop - start, *shape).
        """
        numbers = torch.arange(start, stop, device=device)
        ones = (1,) * len(self.shape)
        inside = ((numbers >= 0) & (numbers < self.count)).view(-1, *ones)
        rest = numbers
        for k in reversed(range(len(self.shape))):
            places = rest.remainder(self.counts[k])
            rest = rest.div(self.counts[k], rounding_mode="floor")
            if self.counts[k] > 1:
                holds = self._holds(k, places)
                inside = inside & holds.view(-1, *ones[:k], self.shape[k], *ones[k + 1 :])
        return inside

    def average(self, values: Tensor) -> Tensor:
        """Gives each element the mean of the values of the windows that it lies in.

        Args:
            values: Of shape (rows, count).

        Returns:
            Of shape (rows, *shape).
        """
        # Boxes on a grid: the sum over the windows of an element is a sum over each dimension's
        # places in turn, and so is their number.
        means = values.reshape(len(values), *self.counts)
        for k, count in enumerate(self.counts):
            holds = self._holds(k, torch.arange(count, device=values.device)).to(values.dtype)
            means = torch.tensordot(means, holds / holds.sum(0), dims=([1], [0]))
        return means

    def _holds(self, k: int, places: Tensor) -> Tensor:
        """Whether the windows at those places of dimension k hold each index of it."""
        indices = torch.arange(self.shape[k], device=places.device)
        offsets = indices - places[:, None] * self.stride[k]
        return (offsets >= 0) & (offsets < self.size[k])
