"""Independent replicates of an estimate: their mean, and a bound on the sum of its errors.

The sum of the magnitudes of all errors depends on the correlation between features: errors of many
independent features sum to nearly the same every time, 0.8 times the standard errors; those of
features that all err at once to 2.6 times as much or more once in a hundred times. The correlation
need not be modelled: the replicates' deviations from their mean, with random signs, sum to errors
of the same distribution (the wild bootstrap: Wu (1986),
https://doi.org/10.1214/aos/1176350142; Liu (1988), https://doi.org/10.1214/aos/1176351062).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from adcaptum.engine.rows.moments import largest, merged
from adcaptum.engine.vocabulary.attribution import Attribution

Tensors = tuple[Tensor, ...]

_DRAWS = 128
_MOST_KEPT = 1024
_MOST_NUMBERS = 1 << 24
# Student's quantiles, two-sided 99 %, by degrees of freedom; between them the smaller number's.
_STUDENT = ((4, 4.60), (7, 3.50), (11, 3.11), (15, 2.95), (23, 2.81), (31, 2.74), (63, 2.66))
_NORMAL = 2.58
# The mean and the standard deviation of a standard normal number's magnitude.
_MEAN, _SPREAD = 0.798, 0.603


class Replicates:
    """Sums of independent, equally distributed replicates of some games' values.

    Attributes:
        count: The number of samples of each replicate.
        sums: Of each replicate, (games, replicates, *features) per tensor.
    """

    __slots__ = ("count", "sums")

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensors = ()

    def add(self, sums: Tensors, count: int) -> None:
        """Adds the sums of `count` more samples of each replicate."""
        self.count += count
        before = self.sums or tuple(map(torch.zeros_like, sums))
        self.sums = tuple(a + b for a, b in zip(before, sums, strict=True))

    def add_samples(self, samples: Tensors) -> None:
        """Adds samples of each replicate, (games, replicates, samples, *features) per tensor."""
        self.add(tuple(t.sum(2) for t in samples), samples[0].shape[2])

    @property
    def mean(self) -> Tensors:
        """The estimate, (games, *features)."""
        return tuple((t / self.count).mean(1) for t in self.sums)

    @property
    def deviations(self) -> Tensors:
        """Independent parts of its error, (games, replicates, *features)."""
        return deviations(tuple(t / self.count for t in self.sums))

    def answer(self, output: Tensor | None) -> tuple[Attribution, Tensor]:
        """The estimate with its standard errors, and the bound on their sum, (games,)."""
        return _answer(tuple(t / self.count for t in self.sums), output)


class ReplicatedVariances:
    """Variances of samples, estimated by independent replicates.

    Attributes:
        count: The number of samples of each replicate.
    """

    __slots__ = ("_means", "_squares", "count")

    def __init__(self) -> None:
        self.count = 0
        self._means: Tensors = ()
        self._squares: Tensors = ()

    def add_samples(self, samples: Tensors) -> None:
        """Adds samples of each replicate, (games, replicates, samples, *features) per tensor."""
        new = samples[0].shape[2]
        means = tuple(t.mean(2) for t in samples)
        squares = tuple(
            (t - m.unsqueeze(2)).square().sum(2) for t, m in zip(samples, means, strict=True)
        )
        if self.count:
            both = [
                merged((self.count, *before), (new, *after))
                for before, after in zip(
                    zip(self._means, self._squares, strict=True),
                    zip(means, squares, strict=True),
                    strict=True,
                )
            ]
            means, squares = tuple(m for _, m, _ in both), tuple(s for _, _, s in both)
        self.count, self._means, self._squares = self.count + new, means, squares

    def answer(self, output: Tensor | None) -> tuple[Attribution, Tensor]:
        """The mean of the replicates' unbiased variances, and the bound on its errors."""
        return _answer(tuple(s / (self.count - 1) for s in self._squares), output)


def _answer(replicates: Tensors, output: Tensor | None) -> tuple[Attribution, Tensor]:
    found = deviations(replicates)
    errors = standard_errors(found)
    mean = tuple(t.mean(1) for t in replicates)
    answer = Attribution(
        mean, output=output, standard_error=largest(errors), standard_errors=errors
    )
    return answer, wrong(found)


def deviations(replicates: Tensors) -> Tensors:
    """Deviations of replicates from their mean: with random signs their sum is like its error.

    Args:
        replicates: Each (games, replicates, *features).
    """
    number = replicates[0].shape[1]
    scale = (number * (number - 1)) ** -0.5
    return tuple((t - t.mean(1, keepdim=True)) * scale for t in replicates)


def standard_errors(deviations: Tensors) -> Tensors:
    """The standard error of each value, (games, *features)."""
    return tuple(t.square().sum(1).sqrt() for t in deviations)


def wrong(deviations: Sequence[Tensor], *, freedom: int | None = None) -> Tensor:
    """The bound that the sum of the errors' magnitudes keeps 99 times in 100, (games,).

    Args:
        deviations: Independent parts of the error, each (games, parts, *features), apart from their
            signs.
        freedom: The degrees of freedom of their squares' sum; None: one less than parts.
    """
    games, parts = deviations[0].shape[:2]
    flips = signs(parts).to(deviations[0].device)
    found = torch.zeros(games, _DRAWS, dtype=deviations[0].dtype, device=flips.device)
    for t in deviations:
        flat = t.to(flips.device).flatten(2)
        step = max(1, _MOST_NUMBERS // (_DRAWS * games))
        for some in flat.split(step, 2):
            found += (flips.to(some.dtype) @ some).abs().sum(2)
    return found.mean(1) + _spreads(parts - 1 if freedom is None else freedom) * found.std(1)


def signs(parts: int, number: int = 0) -> Tensor:
    """Random signs, always the same, float32 of shape (draws, parts); others for other numbers."""
    # Few are kept: half a megabyte each at most.
    return (_kept_signs if parts <= _MOST_KEPT else _signs)(parts, number)


def _signs(parts: int, number: int) -> Tensor:
    source = torch.Generator().manual_seed(parts + (number << 32))
    return torch.randint(2, (_DRAWS, parts), generator=source).float() * 2 - 1


@lru_cache(maxsize=16)
def _kept_signs(parts: int, number: int) -> Tensor:
    return _signs(parts, number)


def _spreads(freedom: int) -> float:
    """The bound on the sum of magnitudes, in standard deviations above its mean.

    That of features that all err at once, which is the largest.
    """
    known = [quantile for least, quantile in _STUDENT if least <= freedom]
    quantile = known[-1] if known else float("inf")
    return ((_NORMAL if freedom > 500 else quantile) - _MEAN) / _SPREAD
