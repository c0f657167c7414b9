"""Hierarchies: features in two halves, each in two halves, down to single ones.

Neighbours stay together. A feature's place is the middle of its elements, and a group is cut across
the axis along which it is longest, between two places, as near to half of its features as can be:
1. first between tensors;
2. then between positions: of a tensor of features (n,) or (n, width) along n, of one of (channels,
   *positions) along all but the channels;
3. then between channels, or along the width.
Features at one place are cut by their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from adcaptum.engine.games.features import Features

Members = npt.NDArray[np.int64]
Places = npt.NDArray[np.float64]

_APART = 1e-6


class Group:
    """Features that belong together; its halves are found when they are asked for.

    Attributes:
        members: The features, int64 of shape (features,).
    """

    __slots__ = ("_halves", "_hierarchy", "members")

    def __init__(self, members: Members, hierarchy: Hierarchy) -> None:
        self.members = members
        self._hierarchy = hierarchy
        self._halves: tuple[Group, Group] | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def halves(self) -> tuple[Group, Group]:
        """Its two parts; of a group of two features or more."""
        if self._halves is None:
            first, second = self._hierarchy.cut(self.members)
            self._halves = Group(first, self._hierarchy), Group(second, self._hierarchy)
        return self._halves


@dataclass(frozen=True, slots=True, eq=False)
class Hierarchy:
    """The binary hierarchy of features, cut on demand.

    Attributes:
        places: The coordinates of each feature, (features, axes).
        axes: The axes to cut across, the first ones first.
        members: The features of the example, in ascending order.
    """

    places: Places
    axes: tuple[tuple[int, ...], ...]
    members: Members

    @classmethod
    def of(cls, features: Features, example: int = 0) -> Self:
        """The hierarchy of the features that an example has, by their places."""
        dims = max((len(shape) for shape in features.shapes), default=0)
        positions = max(dims - 1, 1)
        places = np.zeros((features.count, positions + 2))
        members = np.arange(features.count)
        if features.ids:
            members = _place_masked(places, features, example)
        else:
            first = 0
            for i, shape in enumerate(features.shapes):
                found = _grid(i, shape, places.shape[1])
                places[first : first + len(found)] = found
                first += len(found)
        axes = ((0,), tuple(range(1, positions + 1)), (positions + 1,))
        return cls(places, axes, members)

    @classmethod
    def line(cls, features: int) -> Self:
        """The hierarchy of features by their numbers alone."""
        members = np.arange(features)
        return cls(members[:, None].astype(np.float64), ((0,),), members)

    @property
    def root(self) -> Group:
        """The group of all features."""
        return Group(self.members, self)

    def splits(self, most: int) -> int:
        """Counts the splits, each group in every context.

        A group may be split with or without the other half of each group that holds it: 2 ** depth
        ways.

        Args:
            most: The count to stop at.
        """
        count, depth = 0, 0
        groups = [self.root] if len(self.members) > 1 else []
        while groups:
            count += len(groups) << depth
            if count >= most:
                return most
            halves = (half for group in groups for half in group.halves)
            groups = [half for half in halves if len(half) > 1]
            depth += 1
        return count

    def cut(self, members: Members) -> tuple[Members, Members]:
        """Cuts a group of two features or more in two."""
        places = self.places[members]
        lengths = np.ptp(places, axis=0)
        for axes in self.axes:
            longest = max(axes, key=lambda axis: lengths[axis])
            if lengths[longest] > 4 * _APART:
                return _halves(members, places[:, longest])
        middle = len(members) // 2
        return members[:middle], members[middle:]


def fewest_splits(features: int) -> int:
    """The fewest splits of a hierarchy of that many features, those of halves of halves.

    By induction: 1 + 2 ((l^2 - 1) / 3 + (r^2 - 1) / 3) is at least ((l + r)^2 - 1) / 3.
    """
    return (features * features - 1) // 3


def _halves(members: Members, along: Places) -> tuple[Members, Members]:
    """Cuts between two places, as near to half of the members as can be."""
    half = len(members) // 2
    middle = np.partition(along, half)[half]
    # The cut is just before the middle one's place, or just behind.
    before, behind = along < middle - _APART, along > middle + _APART
    left, right = int(before.sum()), int(behind.sum())
    first = before if left and (not right or left >= right) else ~behind
    return members[first], members[~first]


def _grid(tensor: int, shape: Sequence[int], axes: int) -> Places:
    """Coordinates of a tensor's elements: the tensor, the positions, the channel or component."""
    places = np.zeros((int(np.prod(shape)), axes))
    places[:, 0] = tensor
    steps = np.indices(shape).reshape(len(shape), len(places))
    if len(shape) > 2:
        places[:, 1 : len(shape)] = steps[1:].T
        places[:, -1] = steps[0]
    elif len(shape):
        places[:, 1] = steps[0]
        places[:, -1] = steps[1] if len(shape) == 2 else 0
    return places


def _place_masked(places: Places, features: Features, example: int) -> Members:
    """Places each feature in the middle of its elements in the first tensor that has some.

    Returns:
        The features that have elements.
    """
    placed = np.zeros(features.count, dtype=bool)
    for i, (ids, shape) in enumerate(zip(features.ids, features.shapes, strict=True)):
        grid = _grid(i, shape, places.shape[1])
        of_elements = _of(ids, example).expand(1, *shape).reshape(-1).cpu().numpy()
        counts = np.bincount(of_elements, minlength=features.count)
        new = (counts > 0) & ~placed
        for axis in range(grid.shape[1]):
            sums = np.bincount(of_elements, grid[:, axis], features.count)
            places[new, axis] = sums[new] / counts[new]
        placed |= new
    return np.flatnonzero(placed)


def _of(ids: Tensor, example: int) -> Tensor:
    return ids[example : example + 1] if len(ids) > 1 else ids
