"""Values of a hierarchy of features, split where the effects are largest.

A group that joins a context, the union of groups that came before it, brings an effect. Split in
two halves, either of which may come first, the group's effect is divided: each half joins with
and without the other, with half of the weight. Down to single features the sums are what each
brings on average over all orders in which groups stay together, at every level: the value of Owen
(1977, "Values of games with a priori unions") for nested unions (Winter 1989, "A value for
cooperative games with levels structure of cooperation").
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adcaptum.engine.methods.shapley.hierarchy import Group, Hierarchy, Members

Worths = npt.NDArray[np.float64]

# Effects are compared to eight bits, and to zero relative to the worths: rounding errors, which
# differ between batches, must not decide between features that are alike.
_BITS = 8
_NOTHING = 2.0**-16


@dataclass(frozen=True, slots=True, eq=False)
class Unions:
    """Coalitions that are unions of groups.

    Attributes:
        groups: The members of each coalition's groups.
        features: The number of features.
    """

    groups: tuple[tuple[Members, ...], ...]
    features: int

    @property
    def count(self) -> int:
        return len(self.groups)

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        made = np.zeros((stop - start, self.features), dtype=bool)
        for row, groups in zip(made, self.groups[start:stop], strict=True):
            for members in groups:
                row[members] = True
        return torch.from_numpy(made).to(device)


class _Open(NamedTuple):
    """A group that joins a context.

    Attributes:
        group: The group.
        context: The groups that came before.
        weight: Its share of all orders.
        without: The worths of the context, (outputs,).
        joined: The worths of the context with the group, (outputs,).
    """

    group: Group
    context: tuple[Members, ...]
    weight: float
    without: Worths
    joined: Worths


class Expansion:
    """One example's hierarchy, split so far.

    Attributes:
        made: The number of splits made; each takes two coalitions.
    """

    __slots__ = (
        "_credits", "_features", "_groups", "_numbers", "_open", "_scale", "_serial", "_taken",
        "made",
    )  # fmt: skip

    def __init__(self, hierarchy: Hierarchy, empty: Worths, grand: Worths) -> None:
        """Begins with all features in one group.

        Args:
            hierarchy: The hierarchy of groups.
            empty: The worths of no feature, one for each output, (outputs,).
            grand: The worths of all features, (outputs,).
        """
        root = hierarchy.root
        self.made = 0
        self._features = len(hierarchy.places)
        self._groups = [root]
        self._numbers = {root: 0}
        # The credit of each group so far, (groups, outputs).
        self._credits = (grand - empty)[None]
        self._open: list[tuple[float, int, _Open]] = []
        self._serial = 0
        self._taken: list[_Open] = []
        self._scale = float(np.abs(np.concatenate([empty, grand])).max())
        stake = float(_rounded(np.abs(grand - empty).max(), self._scale))
        self._add(stake, _Open(root, (), 1.0, empty, grand))

    @property
    def open(self) -> int:
        """The number of groups that could be split now."""
        return len(self._open)

    def ask(self, splits: int) -> Unions:
        """Takes the groups of the largest effects to split; names the coalitions to evaluate."""
        self._taken = [heappop(self._open)[2] for _ in range(splits)]
        return Unions(
            tuple(
                [
                    (*each.context, half.members)
                    for each in self._taken
                    for half in each.group.halves
                ]
            ),
            self._features,
        )

    def split(self, worths: Worths) -> None:
        """Splits the groups that `ask` took.

        Args:
            worths: Of the coalitions that it named, (outputs, coalitions).
        """
        taken = self._taken
        if not taken:
            return
        first, second = worths[:, 0::2].T, worths[:, 1::2].T
        without = np.array([each.without for each in taken])
        joined = np.array([each.joined for each in taken])
        weights = np.array([each.weight for each in taken])
        # Each half without the other and with it, (splits, 4, outputs).
        lows = np.stack([without, second, without, first], 1)
        highs = np.stack([first, joined, second, joined], 1)
        effects = highs - lows
        self._book(weights[:, None] * (joined - without), (weights / 2)[:, None, None] * effects)
        largest = _rounded(np.abs(effects).max(2), self._scale)
        stakes = ((weights / 2)[:, None] * largest).tolist()
        for each, low, high, stake in zip(taken, lows, highs, stakes, strict=True):
            left, right = each.group.halves
            before, weight = each.context, each.weight / 2
            if len(left.members) > 1:
                joint = (*before, right.members)
                self._add(stake[0], _Open(left, before, weight, low[0], high[0]))
                self._add(stake[1], _Open(left, joint, weight, low[1], high[1]))
            if len(right.members) > 1:
                joint = (*before, left.members)
                self._add(stake[2], _Open(right, before, weight, low[2], high[2]))
                self._add(stake[3], _Open(right, joint, weight, low[3], high[3]))
        self.made += len(taken)
        self._taken = []

    def values(self) -> Tensor:
        """The value of each feature, (outputs, features); unsplit groups share evenly."""
        sizes = np.array([len(group.members) for group in self._groups])
        places = np.concatenate([group.members for group in self._groups])
        shares = self._credits / sizes[:, None]
        made = [np.bincount(places, np.repeat(own, sizes), self._features) for own in shares.T]
        return torch.from_numpy(np.stack(made))

    def _add(self, stake: float, each: _Open) -> None:
        if len(each.group.members) > 1:
            heappush(self._open, (-stake, self._serial, each))
            self._serial += 1

    def _book(self, gone: Worths, new: Worths) -> None:
        """Moves the credits of split groups to their halves.

        Args:
            gone: Of each group that is split, (splits, outputs).
            new: Of its first half, without and with the other, and of its second, (splits, 4,
                outputs).
        """
        where: list[int] = []
        for each in self._taken:
            left, right = each.group.halves
            if left not in self._numbers:
                self._numbers[left] = len(self._groups)
                self._numbers[right] = len(self._groups) + 1
                self._groups += (left, right)
            first, second = self._numbers[left], self._numbers[right]
            where += (self._numbers[each.group], first, first, second, second)
        added = len(self._groups) - len(self._credits)
        if added:
            zeros = np.zeros((added, self._credits.shape[1]))
            self._credits = np.concatenate([self._credits, zeros])
        changes = np.concatenate([-gone[:, None], new], 1)
        np.add.at(self._credits, where, changes.reshape(len(where), -1))


def _rounded(effects: Worths, scale: float) -> Worths:
    """The effects to a few bits, or zero where they are rounding errors."""
    mantissas, exponents = np.frexp(effects)
    rounded = np.ldexp(np.rint(np.ldexp(mantissas, _BITS)), exponents - _BITS)
    adjusted = np.where(effects <= _NOTHING * scale, 0.0, rounded)
    return np.where(np.isnan(effects), np.inf, adjusted)
