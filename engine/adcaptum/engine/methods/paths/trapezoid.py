"""The trapezoidal rule on a path, whose points lie closer together towards its ends.

The rule is nested: halving all intervals needs the new midpoints only, and the ends, which tell the
completeness error, count as points. Networks of ReLUs have gradients that jump along the path,
where no rule converges faster than with the number of points, so that rules of high order gain
nothing. The places of the rule are evenly spaced; the points are not: they follow
alpha = u - w sin(2 pi u) / (2 pi), w = 0.3, so that nothing periodic hides between them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.refinement import FIRST_INTERVALS, MOST_INTERVALS
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import Flow, ask, both

_WARP = 0.3

Tensors = tuple[Tensor, ...]
Points = Callable[[Tensor, Tensor], Evaluation]
"""Evaluates one example at points of the path, from 0 to 1, ascending, whose gradients are summed
with weights, both float64 of shape (points,)."""
Outputs = Callable[[Tensor, int], Tensor]
"""Maps the target at rows, and the number of points, to the target at the points, (points,)."""
Answer = Callable[[Tensors, Tensor], Estimate]
"""Maps a weighted sum, and the target at all points so far in the path's order, to an estimate."""


class Trapezoid:
    """Estimates by the trapezoidal rule, of ever more intervals.

    Attributes:
        first: The number of intervals of the first estimate.
        most: The number of intervals after which to stop.
    """

    __slots__ = ("_answer", "_outputs", "_outputs_of", "_points", "_sums", "first", "most")

    def __init__(
        self,
        points: Points,
        answer: Answer,
        *,
        first: int = FIRST_INTERVALS,
        most: int = MOST_INTERVALS,
        outputs_of: Outputs = lambda values, _: values,
    ) -> None:
        self.first = first
        self.most = most
        self._points = points
        self._answer = answer
        self._outputs_of = outputs_of
        self._sums: Tensors = ()
        self._outputs = torch.zeros(0)

    def begin(self) -> Flow[tuple[Estimate, Estimate]]:
        places = torch.arange(self.first + 1, dtype=torch.float64) / self.first
        shares = torch.full_like(places, 1 / self.first)
        shares[[0, -1]] /= 2
        (self._outputs, self._sums), middles = yield from both(
            self._ask(places, shares), self._middles(self.first)
        )
        first = self._answer(self._sums, self._outputs)
        return first, self._joined(*middles)

    def halve(self, intervals: int) -> Flow[Estimate]:
        outputs, sums = yield from self._middles(intervals)
        return self._joined(outputs, sums)

    def _middles(self, intervals: int) -> Flow[tuple[Tensor, Tensors]]:
        places = (torch.arange(intervals, dtype=torch.float64) + 0.5) / intervals
        return self._ask(places, torch.full_like(places, 1 / intervals))

    def _joined(self, outputs: Tensor, sums: Tensors) -> Estimate:
        self._sums = tuple((c + m) / 2 for c, m in zip(self._sums, sums, strict=True))
        self._outputs = interleaved(self._outputs, outputs)
        return self._answer(self._sums, self._outputs)

    def _ask(self, places: Tensor, shares: Tensor) -> Flow[tuple[Tensor, Tensors]]:
        alphas, speeds = warped(places)
        reading = yield from ask(self._points(alphas, shares * speeds))
        return self._outputs_of(reading.values, len(places)), reading.gradients


def warped(places: Tensor) -> tuple[Tensor, Tensor]:
    """The points of the path at places of the rule, and their speeds there.

    Args:
        places: Evenly spaced in [0, 1], float64 of shape (points,).

    Returns:
        Both float64 of shape (points,); 0 and 1 are themselves, exactly. The average speed over the
        intervals of the trapezoidal rule is 1 if there are two or more.
    """
    turns = 2 * pi * places
    alphas = places - _WARP * turns.sin() / (2 * pi)
    ends = (places == 0) | (places == 1)
    return torch.where(ends, places, alphas), 1 - _WARP * turns.cos()


def interleaved(outer: Tensor, inner: Tensor) -> Tensor:
    """The entries of two tensors by turns: n between n + 1."""
    whole = outer.new_empty(len(outer) + len(inner), *outer.shape[1:])
    whole[::2], whole[1::2] = outer, inner
    return whole
