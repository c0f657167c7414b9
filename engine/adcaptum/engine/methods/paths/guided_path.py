"""A path from a baseline to an example that moves elements of small gradients first."""

from __future__ import annotations

import torch
from torch import Tensor

# The rest of a step's distance may be rounding.
_ROUNDING = 8


class GuidedPath:
    """Points on their paths, one for each example.

    Each step brings a point nearer to its end by the same share of the whole distance, the sum of
    the elements' distances. It moves the elements whose gradients are smallest, as far as they may
    go: an element may be ahead of the straight path, or behind it, by a given share at most.

    Kapishnikov et al. (2021), https://arxiv.org/abs/2106.09788, algorithm 1.

    Attributes:
        points: Their coordinates, (examples, elements).
    """

    __slots__ = ("_ends", "_leeway", "_share", "_starts", "_steps", "_whole", "points")

    def __init__(
        self, starts: Tensor, ends: Tensor, *, steps: int, share: float, leeway: float
    ) -> None:
        """Begins at the starts.

        Args:
            starts: Of shape (examples, elements), floating-point.
            ends: Of the same shape.
            steps: The number of steps.
            share: The share of the elements that move at a time, by ascending gradients.
            leeway: The largest distance of an element from the straight path, as a share of its
                own.
        """
        self._starts = starts
        self._ends = ends
        self._steps = steps
        self._share = share
        self._leeway = leeway
        self._whole = (ends - starts).abs().sum(1)
        self.points = starts.clone()

    def step(self, number: int, gradients: Tensor) -> Tensor:
        """Takes step `number` of 1..steps; returns each element's movement.

        Args:
            number: The step's number.
            gradients: The gradients at the points, of their shape.
        """
        before = self.points
        if number == self._steps:
            self.points = self._ends
            return self._ends - before
        alpha = number / self._steps
        latest = self._at(min(alpha + self._leeway, 1.0))
        wanted = self._whole * (1 - alpha)
        x = self._caught_up(before, max(alpha - self._leeway, 0.0))
        # Magnitudes; elements that have gone as far as they may are left out.
        slopes = gradients.abs().masked_fill(x == latest, torch.inf)
        least = self._whole * (_ROUNDING * torch.finfo(x.dtype).eps)
        while True:
            left = (self._ends - x).abs().sum(1) - wanted
            chosen = self._smallest(slopes) & (left > least)[:, None]
            if not bool(chosen.any()):
                break
            room = torch.where(chosen, (latest - x).abs(), 0).sum(1)
            # The whole room, or the part of it that suffices.
            part = torch.where(room > left, left / room, 1)[:, None]
            moved = torch.where(part == 1, latest, torch.lerp(x, latest, part))
            x = torch.where(chosen, moved, x)
            slopes = torch.where(chosen, torch.inf, slopes)
        self.points = x
        return x - before

    def _at(self, alpha: float) -> Tensor:
        """The point of the straight path at a share of it."""
        return torch.lerp(self._starts, self._ends, alpha)

    def _caught_up(self, x: Tensor, alpha: float) -> Tensor:
        """The points, with no element behind that share of its path."""
        earliest = self._at(alpha)
        behind = (self._ends - x).abs() > (self._ends - earliest).abs()
        return torch.where(behind, earliest, x)

    def _smallest(self, slopes: Tensor) -> Tensor:
        """A mask of the elements of smallest finite slopes: the share of all elements, and ties."""
        elements = slopes.shape[1]
        if not elements:
            return slopes.isfinite()
        rank = int(self._share * (elements - 1)) + 1
        limits = slopes.kthvalue(rank, dim=1, keepdim=True).values
        return (slopes <= limits) & slopes.isfinite()
