"""Running mean and variance of samples that arrive in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Summary = tuple[int, Tensor, Tensor]
"""The number of a set's samples, their mean, and the sum of squared deviations from it."""


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
        count: The number of samples.
        mean: Their mean, (examples, *features) per tensor.
    """

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean: tuple[Tensor, ...] = ()
        self._squares: tuple[Tensor, ...] = ()

    def add(self, samples: tuple[Tensor, ...]) -> None:
        """Adds samples, each tensor (examples, samples, *features)."""
        means = tuple(t.mean(1) for t in samples)
        squares = tuple(
            (t - mean.unsqueeze(1)).square().sum(1) for t, mean in zip(samples, means, strict=True)
        )
        self._merge(samples[0].shape[1], means, squares)

    def merge(self, count: int, means: tuple[Tensor, ...], variances: tuple[Tensor, ...]) -> None:
        """Adds `count` samples by their mean and unbiased variance."""
        self._merge(count, means, tuple(v * (count - 1) for v in variances))

    @property
    def variance(self) -> tuple[Tensor, ...]:
        """The unbiased variance of a sample; zero for a single one."""
        return tuple(m2 / max(self.count - 1, 1) for m2 in self._squares)

    @property
    def standard_errors(self) -> tuple[Tensor, ...]:
        """The standard error of the mean; infinite for a single sample."""
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


class StratifiedMoments:
    """Mean over strata of equal weight, round by round, and its standard error.

    Each round is a stratified sample of its own: Cochran (1977), "Sampling techniques", theorem 5.3
    and equation 5.15. Rounds have weights in proportion to their samples.

    Attributes:
        count: The number of samples.
        mean: The mean, (games, features).
    """

    __slots__ = ("_variance", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0)
        self._variance = torch.zeros(0)

    def add(self, samples: Tensor, strata: Tensor) -> None:
        """Adds a round.

        Args:
            samples: Of shape (games, samples, features).
            strata: The stratum of each sample, from 0, all present, int64 of shape (samples,).
        """
        drawn = torch.bincount(strata)
        sizes = drawn[:, None].to(samples)
        sums = samples.new_zeros(len(samples), len(drawn), samples.shape[2])
        means = sums.index_add(1, strata, samples) / sizes
        squares = sums.index_add(1, strata, (samples - means[:, strata]).square())
        # The variance of a stratum with a single sample is unknown.
        variances = torch.where(sizes > 1, squares / (sizes * (sizes - 1)), torch.inf)
        self._merge(len(strata), means.mean(1), variances.mean(1) / len(drawn))

    @property
    def standard_errors(self) -> Tensor:
        """The standard error of the mean, (games, features); infinite with a single sample."""
        return self._variance.sqrt()

    def _merge(self, count: int, mean: Tensor, variance: Tensor) -> None:
        if not self.count:
            self.count, self.mean, self._variance = count, mean, variance
            return
        share = count / (self.count + count)
        self.mean = self.mean + (mean - self.mean) * share
        self._variance = self._variance * (1 - share) ** 2 + variance * share**2
        self.count += count


def magnitude(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of the magnitudes of each example's numbers, (examples,)."""
    return torch.stack([t.abs().reshape(len(t), -1).sum(1) for t in tensors]).sum(0)


def largest(standard_errors: tuple[Tensor, ...]) -> Tensor:
    """The largest standard error of each example, (examples,); 0 where there are no elements."""
    some = [t.reshape(len(t), -1).amax(1) for t in standard_errors if t.numel()]
    return torch.stack(some).amax(0) if some else standard_errors[0].flatten(1).sum(1)


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
