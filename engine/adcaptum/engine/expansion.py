"""Values of a hierarchy of features, split where most is at stake.

A group that joins a context, the union of groups that came before it, brings an effect. Split in
two halves, either of which may come first, the group's effect is told apart: each half joins with
and without the other, with half of the weight. Down to single features the sums are what each
brings on average over all orders in which groups stay together, at every level: the value of Owen
(1977, "Values of games with a priori unions") for nested unions (Winter 1989, "A value for
cooperative games with levels structure of cooperation").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import frexp, isnan, ldexp

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adcaptum.engine.hierarchy import Group, Hierarchy, Members

Worths = npt.NDArray[np.float64]

# Effects are compared to eight bits, and beside the game's worths these are nothing: rounding
# errors, which differ between batches, do not decide between features that are alike.
_BITS = 8
_NOTHING = 2.0**-16


@dataclass(frozen=True, slots=True, eq=False)
class Unions:
    """Coalitions that are unions of groups.

    Attributes:
        groups: The members of each coalition's groups.
        features: How many features there are.
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


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A group that joins a context.

    Attributes:
        group: The group.
        context: What is there before.
        weight: In what share of all orders.
        without: The worths of the context, (outputs,).
        joined: The worths of the context with the group, (outputs,).
    """

    group: Group
    context: tuple[Members, ...]
    weight: float
    without: Worths
    joined: Worths

    @property
    def credit(self) -> Worths:
        return self.weight * (self.joined - self.without)


class Expansion:
    """One example's hierarchy, split so far.

    Attributes:
        made: How many splits were made; each takes two coalitions.
    """

    __slots__ = ("_credits", "_features", "_open", "_scale", "_serial", "_taken", "made")

    def __init__(self, hierarchy: Hierarchy, nobody: Worths, everybody: Worths) -> None:
        """Begins with all features in one group.

        Args:
            hierarchy: How they are grouped.
            nobody: The worths of no feature, one for each output, (outputs,).
            everybody: The worths of all features, (outputs,).
        """
        root = hierarchy.root
        self.made = 0
        self._features = len(hierarchy.places)
        self._credits: dict[Group, Worths] = {}
        self._open: list[tuple[float, int, _Open]] = []
        self._serial = 0
        self._taken: list[_Open] = []
        self._scale = float(np.abs(np.concatenate([nobody, everybody])).max())
        self._add(_Open(root, (), 1.0, nobody, everybody))

    @property
    def open(self) -> int:
        """How many splits could be made now."""
        return len(self._open)

    def ask(self, splits: int) -> Unions:
        """Takes the groups of the largest effects, to be split; tells which worths that needs."""
        self._taken = [heappop(self._open)[2] for _ in range(splits)]
        return Unions(
            tuple(
                (*each.context, half.members) for each in self._taken for half in each.group.halves
            ),
            self._features,
        )

    def split(self, worths: Worths) -> None:
        """Splits what `ask` took.

        Args:
            worths: Of the coalitions that it named, (outputs, coalitions).
        """
        for each, (first, second) in zip(self._taken, _paired(worths), strict=True):
            left, right = each.group.halves
            before, weight = each.context, each.weight / 2
            self._credits[each.group] = self._credits[each.group] - each.credit
            self._add(_Open(left, before, weight, each.without, first))
            self._add(_Open(left, (*before, right.members), weight, second, each.joined))
            self._add(_Open(right, before, weight, each.without, second))
            self._add(_Open(right, (*before, left.members), weight, first, each.joined))
        self.made += len(self._taken)
        self._taken = []

    def values(self) -> Tensor:
        """What each feature brings, (outputs, features); unsplit groups share evenly."""
        outputs = len(next(iter(self._credits.values())))
        made = np.zeros((outputs, self._features))
        for group, credit in self._credits.items():
            made[:, group.members] += (credit / len(group))[:, None]
        return torch.from_numpy(made)

    def _add(self, each: _Open) -> None:
        credit = each.credit
        self._credits[each.group] = self._credits.get(each.group, 0.0) + credit
        if len(each.group) > 1:
            effect = float(np.abs(each.joined - each.without).max())
            stake = each.weight * _rounded(effect, self._scale)
            heappush(self._open, (-stake, self._serial, each))
            self._serial += 1


def _paired(worths: Worths) -> Sequence[tuple[Worths, Worths]]:
    return [(worths[:, i], worths[:, i + 1]) for i in range(0, worths.shape[1], 2)]


def _rounded(effect: float, scale: float) -> float:
    """The effect to a few bits, or zero where it is rounding error."""
    if isnan(effect):
        return float("inf")
    if effect <= _NOTHING * scale:
        return 0.0
    mantissa, exponent = frexp(effect)
    return ldexp(round(ldexp(mantissa, _BITS)), exponent - _BITS)
