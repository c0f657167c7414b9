"""Samples of coalitions for a surrogate: pairs of a coalition and its complement, by size.

The Shapley kernel (Lundberg, Lee 2017, theorem 2) gives a coalition of s of d features a weight
proportional to 1 / (C(d, s) s (d - s)). A size's share of the coalitions to evaluate is its weight
(kernel), or the leverage of its coalitions in the regression, which is the same for all sizes
(Musco, Witter 2024, https://arxiv.org/abs/2410.01917, section 3). Rules:
1. Coalitions come with their complements (Covert, Lee 2021, section 3.2).
2. A size, with its complement's, is evaluated whole where its share of the pairs that are left
   suffices, from the outermost inwards, as in Lundberg's implementation.
3. The other sizes are strata. Each has its share of the other pairs, drawn without replacement;
   sizes whose share is too small to estimate a variance are joined with their neighbours. By
   leverage no share is too small where there are two pairs for each feature.
4. Within a stratum pairs stand in random order, and the order of all pairs takes from the strata in
   turn: the first pairs, however many, are a sample of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import address, generator

Sampling = Literal["kernel", "leverage"]

_STREAM = 21
_MOST_STRATA = 64
# More coalitions of a size than this count as this many.
_MANY = 1e15


@dataclass(frozen=True, slots=True, eq=False)
class PairedSample:
    """Pairs of coalitions with their strata and weights.

    Attributes:
        members: One coalition of each pair, the smaller, bool of shape (pairs, features).
        strata: The stratum of each pair, int64 of shape (pairs,).
        masses: The kernel's weight of each stratum, float64 of shape (strata,); in all 1.
        populations: The number of pairs of each stratum, float64 of shape (strata,).
    """

    members: Tensor
    strata: Tensor
    masses: Tensor
    populations: Tensor

    @classmethod
    def draw(cls, features: int, pairs: int, seed: int, sampling: Sampling = "kernel") -> Self:
        """Draws pairs of coalitions of two features or more.

        Args:
            features: The number of features.
            pairs: The number of pairs, at most 2 ** (features - 1) - 1, which are all.
            seed: The request's seed.
            sampling: The rule of a size's share.
        """
        source = generator(seed, _STREAM, 0)
        layers = _Layers.of(features, sampling)
        whole, left = layers.whole(pairs)
        groups = [[size] for size in range(whole)] + layers.groups(whole, left)
        drawn = [int(layers.populations[size]) for size in range(whole)]
        drawn += layers.shares(groups[whole:], left)
        sizes = [layers.sizes(g, n, source) for g, n in zip(groups, drawn, strict=True)]
        members = _members(features, sizes, layers, source)
        strata = torch.repeat_interleave(torch.tensor(drawn))
        places = torch.cat([torch.arange(n, dtype=torch.float64) / n for n in drawn])
        order = places.argsort(stable=True)
        return cls(
            members[order],
            strata[order],
            _sums(layers.masses, groups),
            _sums(layers.populations, groups),
        )

    def first(self, pairs: int) -> Self:
        """The first pairs alone."""
        return type(self)(self.members[:pairs], self.strata[:pairs], self.masses, self.populations)


@dataclass(frozen=True, slots=True)
class _Layers:
    """The pairs by the size of the smaller coalition; index 0 is size 1.

    Attributes:
        features: The number of features.
        masses: The kernel's weight of each size with its complement's; in all 1.
        populations: The number of pairs of each size.
        rates: Proportional to each size's share of the pairs.
        joined: Whether sizes may be joined: those of a stratum have to weigh the same.
    """

    features: int
    masses: tuple[float, ...]
    populations: tuple[float, ...]
    rates: tuple[float, ...]
    joined: bool

    @classmethod
    def of(cls, features: int, sampling: Sampling) -> Self:
        masses = []
        populations = []
        leverages = []
        subsets = 1.0
        for size in range(1, features // 2 + 1):
            subsets = min(subsets * (features - size + 1) / size, _MANY)
            # The middle size holds its own complements.
            halved = 2 if 2 * size == features else 1
            masses.append(2 / halved / (size * (features - size)))
            populations.append(subsets / halved)
            leverages.append(1 / halved)
        total = sum(masses)
        weights = tuple(mass / total for mass in masses)
        if sampling == "leverage":
            return cls(features, weights, tuple(populations), tuple(leverages), joined=False)
        return cls(features, weights, tuple(populations), weights, joined=True)

    def whole(self, pairs: int) -> tuple[int, int]:
        """The number of sizes to evaluate whole, and of pairs that are left."""
        left, rest = float(pairs), sum(self.rates)
        for size, (rate, population) in enumerate(zip(self.rates, self.populations, strict=True)):
            if left * rate < population * rest * (1 - 1e-9):
                return size, int(left)
            left -= population
            rest -= rate
        return len(self.rates), 0

    def groups(self, whole: int, left: int) -> list[list[int]]:
        """Joins the sizes from `whole` on into strata, each with a share of two pairs or more."""
        if not self.joined:
            return [[size] for size in range(whole, len(self.rates))]
        enough = max(2.0, left / _MOST_STRATA)
        rest = sum(self.rates[whole:])
        found: list[list[int]] = []
        share = enough
        # From the middle, where shares are smallest.
        for size in reversed(range(whole, len(self.rates))):
            if share >= enough:
                found.append([])
                share = 0.0
            found[-1].insert(0, size)
            share += left * self.rates[size] / rest
        if len(found) > 1 and share < enough:
            last = found.pop()
            found[-1] = last + found[-1]
        return found[::-1]

    def shares(self, groups: Sequence[Sequence[int]], left: int) -> list[int]:
        """The number of pairs to draw from each stratum: its share, in all exactly `left`."""
        ends = _sums(self.rates, groups).cumsum(0)
        whole = (ends * (left / ends[-1:]) + 0.5).floor().long()
        return whole.diff(prepend=whole.new_zeros(1)).tolist()

    def sizes(self, group: Sequence[int], pairs: int, source: torch.Generator) -> Tensor:
        """The size (1 or more) of each pair to draw from a stratum, int64 of shape (pairs,)."""
        if len(group) == 1:
            return torch.full((pairs,), group[0] + 1)
        masses = torch.tensor([self.masses[size] for size in group], dtype=torch.float64)
        most = torch.tensor([self.populations[size] for size in group], dtype=torch.float64)
        # Systematic sampling: each size comes as often as its share says, up to one.
        offset = torch.rand((), generator=source, dtype=torch.float64)
        points = (torch.arange(pairs) + offset) / pairs
        found = torch.searchsorted(masses.cumsum(0) / masses.sum(), points)
        counts = torch.bincount(found.clamp_max(len(group) - 1), minlength=len(group)).double()
        counts = torch.minimum(counts, most)
        # Neighbours supply the pairs that a size lacks.
        room = most - counts
        before = room.cumsum(0) - room
        counts += (pairs - counts.sum() - before).clamp_min(0).minimum(room)
        sizes = torch.repeat_interleave(torch.tensor(group) + 1, counts.long())
        return sizes[torch.randperm(pairs, generator=source)]


def _sums(numbers: Sequence[float], groups: Sequence[Sequence[int]]) -> Tensor:
    """Sums the numbers of each group, float64."""
    return torch.tensor([sum(numbers[i] for i in g) for g in groups], dtype=torch.float64)


def _members(
    features: int, sizes: Sequence[Tensor], layers: _Layers, source: torch.Generator
) -> Tensor:
    """Draws distinct coalitions of the sizes wanted in each stratum."""
    parts: list[Tensor] = []
    scattered: list[int] = []
    for i, wanted in enumerate(sizes):
        size = int(wanted[0])
        population = layers.populations[size - 1]
        if bool((wanted == size).all()) and 4 * len(wanted) > population:
            chosen = torch.randperm(int(population), generator=source)[: len(wanted)]
            parts.append(_all_of_size(features, size)[chosen])
        else:
            parts.append(wanted)
            scattered.append(i)
    if scattered:
        drawn = _distinct(features, torch.cat([sizes[i] for i in scattered]), source)
        found = drawn.split([len(sizes[i]) for i in scattered])
        for i, members in zip(scattered, found, strict=True):
            parts[i] = members
    return torch.cat(parts)


def _all_of_size(features: int, size: int) -> Tensor:
    """Every coalition of a size; of the middle size, those that hold feature 0."""
    if 2 * size == features:
        rest = _all_of_size(features - 1, size - 1) if size > 1 else torch.zeros(1, features - 1)
        return torch.cat([torch.ones(len(rest), 1, dtype=torch.bool), rest.bool()], 1)
    flat = chain.from_iterable(combinations(range(features), size))
    chosen = np.fromiter(flat, np.int64).reshape(-1, size)
    members = torch.zeros(len(chosen), features, dtype=torch.bool)
    return members.scatter_(1, torch.from_numpy(chosen), value=True)


def _distinct(features: int, sizes: Tensor, source: torch.Generator) -> Tensor:
    """Draws a coalition of each of the sizes, no two the same or complements."""
    members = _uniform(features, sizes, source)
    while True:
        again = np.ones(len(members), dtype=bool)
        again[np.unique(_keys(members), return_index=True)[1]] = False
        if not again.any():
            return members
        repeated = torch.from_numpy(again)
        members[repeated] = _uniform(features, sizes[repeated], source)


def _keys(members: Tensor) -> npt.NDArray[np.uint64]:
    """A number for each coalition; equal for equal ones, and hardly ever for others.

    A chance collision costs another draw, nothing else.
    """
    packed = np.packbits(members.numpy(), axis=1)
    words = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    factors = [address(0, _STREAM, i) | 1 for i in range(words.shape[1])]
    return (words * np.array(factors, np.uint64)).sum(1, dtype=np.uint64)


def _uniform(features: int, sizes: Tensor, source: torch.Generator) -> Tensor:
    """Draws coalitions of the sizes, each uniformly."""
    keys = torch.rand(len(sizes), features, generator=source, dtype=torch.float64).numpy()
    # The features of the smallest keys; numpy sorts short rows several times faster than torch.
    limits = np.take_along_axis(np.sort(keys, axis=1), sizes.numpy()[:, None] - 1, axis=1)
    members = torch.from_numpy(keys <= limits)
    # Of the middle size, the one of the pair that holds feature 0.
    return members ^ ((2 * sizes == features) & ~members[:, 0])[:, None]
