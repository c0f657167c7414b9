"""Running mean and variance of samples that arrive in batches."""

from __future__ import annotations

import torch
from torch import Tensor

Summary = tuple[int, Tensor, Tensor]
"""Of a set of samples: how many there are, their mean, the sum of squared deviations from it."""


def merged(a: Summary, b: Summary) -> Summary:
    """Summarises two sets of samples together.

    Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1:
    stable where E[a^2] - E[a]^2 cancels.
    """
    (n, mean, squares), (m, other_mean, other_squares) = a, b
    delta = other_mean - mean
    both = squares + other_squares + delta.square() * (n * m / (n + m))
    return n + m, mean + delta * (m / (n + m)), both


class RunningMoments:
    """Mean and variance over samples, merged batch by batch.

    Attributes:
        count: How many samples there are.
        mean: Their mean, (examples, *features) per tensor.
    """

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean: tuple[Tensor, ...] = ()
        self._squares: tuple[Tensor, ...] = ()

    def add(self, samples: tuple[Tensor, ...]) -> None:
        """Takes samples, each tensor (examples, samples, *features)."""
        means = tuple(t.mean(1) for t in samples)
        squares = tuple(
            (t - mean.unsqueeze(1)).square().sum(1) for t, mean in zip(samples, means, strict=True)
        )
        self._merge(samples[0].shape[1], means, squares)

    def merge(self, count: int, means: tuple[Tensor, ...], variances: tuple[Tensor, ...]) -> None:
        """Takes the mean and the unbiased variance of `count` other samples."""
        self._merge(count, means, tuple(v * (count - 1) for v in variances))

    @property
    def variance(self) -> tuple[Tensor, ...]:
        """The unbiased variance of a sample; zero for a single one."""
        return tuple(m2 / max(self.count - 1, 1) for m2 in self._squares)

    @property
    def standard_errors(self) -> tuple[Tensor, ...]:
        """The standard error of the mean; infinite for a single sample, which tells nothing."""
        if self.count < 2:
            return tuple(torch.full_like(mean, torch.inf) for mean in self.mean)
        return tuple((v / self.count).sqrt() for v in self.variance)

    def _merge(self, count: int, means: tuple[Tensor, ...], squares: tuple[Tensor, ...]) -> None:
        if not self.mean:
            self.count, self.mean, self._squares = count, means, squares
            return
        both = [
            merged((self.count, mean, m2), (count, new_mean, new_m2))
            for mean, m2, new_mean, new_m2 in zip(
                self.mean, self._squares, means, squares, strict=True
            )
        ]
        self.count += count
        self.mean = tuple(mean for _, mean, _ in both)
        self._squares = tuple(m2 for _, _, m2 in both)


def largest(standard_errors: tuple[Tensor, ...]) -> Tensor:
    """The largest standard error of each example, (examples,)."""
    return torch.stack([t.flatten(1).amax(1) for t in standard_errors]).amax(0)


def rounds(total: int, first: int) -> list[int]:
    """Cuts a number of samples into rounds that double, so that early answers cost little."""
    sizes = []
    size = first
    while total > 0:
        sizes.append(min(size, total))
        total -= sizes[-1]
        size *= 2
    if len(sizes) > 1 and sizes[-1] < first:
        last = sizes.pop()
        sizes[-1] += last
    return sizes
