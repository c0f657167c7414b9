"""Coalitions: sets of features that keep their values while the others are at the baseline.

Batches make them as needed: leaving out each of 150,000 pixels takes no matrix of 150,000 x
150,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Coalitions(Protocol):
    """A list of coalitions of a game's features."""

    @property
    def count(self) -> int:
        """The number of coalitions."""
        ...

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Makes coalitions start..stop, bool of shape (stop - start, features)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Coalitions given as a list.

    Attributes:
        members: bool of shape (coalitions, features).
    """

    members: Tensor

    @property
    def count(self) -> int:
        return len(self.members)

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        return self.members[start:stop].to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """The coalitions that each leave out one feature; the last has all features.

    Attributes:
        features: The number of features.
    """

    features: int

    @property
    def count(self) -> int:
        return self.features + 1

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        left_out = torch.arange(start, stop, device=device)
        return left_out[:, None] != torch.arange(self.features, device=device)


@dataclass(frozen=True, slots=True)
class Enumerated:
    """Every coalition: the n-th has feature i if bit i of n is set.

    Attributes:
        features: The number of features.
    """

    features: int

    @property
    def count(self) -> int:
        return 1 << self.features

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        numbers = torch.arange(start, stop, device=device)
        bits = torch.arange(self.features, device=device)
        return (numbers[:, None] >> bits & 1).bool()


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """For each permutation its first feature, its first two, ..., all but its last.

    Attributes:
        ranks: The place of each feature in each permutation, int32 of shape (permutations,
            features).
    """

    ranks: Tensor

    @property
    def count(self) -> int:
        return self.ranks.shape[0] * (self.ranks.shape[1] - 1)

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        each = self.ranks.shape[1] - 1
        first = start // each
        ranks = self.ranks[first : (stop - 1) // each + 1].to(device, non_blocking=True)
        if stop - start >= each:
            # The usual case: whole permutations.
            places = torch.arange(each, device=device)
            offset = start - first * each
            return (ranks[:, None] <= places[:, None]).flatten(0, 1)[offset : offset + stop - start]
        numbers = torch.arange(start - first * each, stop - first * each, device=device)
        permutation = numbers.div(each, rounding_mode="floor")
        return ranks[permutation] <= (numbers - permutation * each)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Toggled:
    """Each coalition; then, for each feature, the coalition with the feature's presence reversed.

    Attributes:
        members: bool of shape (coalitions, features).
    """

    members: Tensor

    @property
    def count(self) -> int:
        return self.members.shape[0] * (self.members.shape[1] + 1)

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        features = self.members.shape[1]
        first = start // (features + 1)
        members = self.members[first : (stop - 1) // (features + 1) + 1]
        members = members.to(device, non_blocking=True)
        numbers = torch.arange(start, stop, device=device)
        which = numbers.div(features + 1, rounding_mode="floor")
        toggled = numbers - which * (features + 1) - 1
        places = torch.arange(features, device=device)
        return members[which - first] ^ (toggled[:, None] == places)


@dataclass(frozen=True, slots=True)
class Without:
    """A list of coalitions without one of them.

    Attributes:
        coalitions: The coalitions.
        number: The number of the coalition that is missing.
    """

    coalitions: Coalitions
    number: int

    @property
    def count(self) -> int:
        return self.coalitions.count - 1

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        first = start + (start >= self.number)
        last = max(first, stop + (stop > self.number))
        members = self.coalitions.take(first, last, device)
        if not start < self.number < stop:
            return members
        missing = self.number - start
        return torch.cat([members[:missing], members[missing + 1 :]])


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive coalitions of a list.

    Attributes:
        coalitions: The list.
        start: The first of them.
        stop: The first after the last.
    """

    coalitions: Coalitions
    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        return self.coalitions.take(self.start + start, self.start + stop, device)


def grand_coalition(coalitions: Coalitions) -> int | None:
    """Returns the number of the coalition of all features; None if there is none."""
    if isinstance(coalitions, Enumerated | LeaveOneOut):
        return coalitions.count - 1
    if isinstance(coalitions, Listed):
        found = coalitions.members.all(1).nonzero()
        return int(found[0]) if len(found) else None
    if isinstance(coalitions, Range):
        place = grand_coalition(coalitions.coalitions)
        if place is not None and coalitions.start <= place < coalitions.stop:
            return place - coalitions.start
    return None
