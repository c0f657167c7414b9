"""Nearby rows of a table at which a goal is met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask

_HALVINGS = 12


class Reached(NamedTuple):
    """The result of a search.

    Attributes:
        rows: The row that meets the goal, or the example itself where none was found.
        found: A mask of the examples for which one was found, (examples,).
    """

    rows: Tensor
    found: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualSearch:
    """A search for a row that meets a goal, near each example, along gradients.

    Wachter, Mittelstadt, Russell (2017), https://arxiv.org/abs/1711.00399: the goal and the
    distance, sum_k |x_k - x'_k| / scale_k. Instead of minimising a weighted sum of both, the
    search descends until the goal is met, goes a little further, and takes back what it does not
    need: it puts features back, from the least changed to the most, and halves the way.

    The explicand's target is the shortfall: positive where the goal is not met.

    Attributes:
        scales: The unit of each feature, positive, (features,).
        mutable: A mask of the features that may change, (features,).
        lower: The least value of each, (features,).
        upper: The largest, (features,).
        steps: The most steps of the descent.
        step_size: The length of a step, in units of the features.
    """

    scales: Tensor
    mutable: Tensor
    lower: Tensor
    upper: Tensor
    steps: int = 100
    step_size: float = 0.1

    def flow(self, explicand: Explicand) -> Flow[Reached]:
        """Searches for all examples at once."""
        (origin,) = explicand.inputs
        points, found = yield from self._descended(explicand)
        points = torch.where(found[:, None], points, origin)
        if not found.any():
            return Reached(points, found)
        # In this order: at the border of the goal no feature can be put back.
        points = yield from self._further(explicand, points)
        points = yield from self._sparser(explicand, points)
        points = yield from self._halved(explicand, points)
        return Reached(points, found)

    def _descended(self, explicand: Explicand) -> Flow[tuple[Tensor, Tensor]]:
        (points,) = explicand.inputs
        for _ in range(self.steps):
            asked = replace(explicand, inputs=(points,)).at_inputs(gradient=True)
            reading = yield from ask(asked)
            met = reading.values <= 0
            if bool(met.all()):
                return points, met
            points = torch.where(met[:, None], points, self._stepped(points, *reading.gradients))
        met = yield from self._met(explicand, points)
        return points, met[:, 0]

    def _stepped(self, points: Tensor, gradient: Tensor) -> Tensor:
        """A step down the gradient, in the features' units, of those that may go that way."""
        down = -gradient * self.scales
        blocked = ((points <= self.lower) & (down < 0)) | ((points >= self.upper) & (down > 0))
        down = torch.where(self.mutable & ~blocked, down, 0)
        length = down.norm(dim=1, keepdim=True)
        unit = torch.where(length > 0, down / length, 0)
        return self._bounded(points + self.step_size * unit * self.scales, points)

    def _bounded(self, there: Tensor, points: Tensor) -> Tensor:
        """Returns where the points go within the bounds of features."""
        bounded = torch.minimum(torch.maximum(there, self.lower), self.upper)
        # A feature outside its bounds from the start stays where it is until it moves.
        return torch.where(there == points, points, bounded).to(points.dtype)

    def _further(self, explicand: Explicand, points: Tensor) -> Flow[Tensor]:
        """Goes half of the way again where the goal stays met."""
        (origin,) = explicand.inputs
        there = self._bounded(torch.lerp(origin, points, 1.5), points)
        met = yield from self._met(explicand, there)
        return torch.where(met, there, points)

    def _halved(self, explicand: Explicand, points: Tensor) -> Flow[Tensor]:
        """Goes back towards the example as far as the goal stays met."""
        (origin,) = explicand.inputs
        near, far = points.new_zeros(len(points), 1), points.new_ones(len(points), 1)
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            met = yield from self._met(explicand, torch.lerp(origin, points, middle))
            far = torch.where(met, middle, far)
            near = torch.where(met, near, middle)
        # Exactly the point that was evaluated, also after rounding.
        return torch.where(far < 1, torch.lerp(origin, points, far), points)

    def _sparser(self, explicand: Explicand, points: Tensor) -> Flow[Tensor]:
        """Puts each feature back, the least changed first, if the goal stays met."""
        (origin,) = explicand.inputs
        order = ((points - origin).abs() / self.scales).argsort(1)
        for rank in range(points.shape[1]):
            column = order[:, rank : rank + 1]
            without = points.scatter(1, column, origin.gather(1, column))
            if torch.equal(without, points):
                continue
            met = yield from self._met(explicand, without)
            points = torch.where(met, without, points)
        return points

    def _met(self, explicand: Explicand, points: Tensor) -> Flow[Tensor]:
        """Evaluates points; returns a mask of those that meet the goal, (examples, 1)."""
        reading = yield from ask(replace(explicand, inputs=(points,)).at_inputs())
        return reading.values[:, None] <= 0
