"""Integrals along the way from the baseline, refined until they are good enough.

The trapezoidal rule is nested: halving all intervals needs the new midpoints only, and the ends,
which tell the completeness error, count as points. Networks of ReLUs have gradients that jump along
the way, where no rule converges faster than with the number of points, so that rules of high order
gain nothing, and where gradients are smooth and flat at both ends the trapezoidal rule converges
as fast as any (2026-11-23, 1,000 points as the truth, the models cells, digits and reviews: errors
of Gauss-Legendre, Clenshaw-Curtis and this rule within a factor of 1.5 of each other at 17 points,
but for reviews, 0.5 %, 0.7 % and 0.8 %; weights that are corrected to complete each interval were
worse).

The error of a refinement is taken to be 1.2 times the last change, or 0.3 times the one before, so
that luck alone ends nothing. Of 1,000 explanations of cells (against the mean and against other
rows) 99.9, 99.9 and 100 % were as good as they said at 5, 2 and 1 %; without the factor of 1.2 it
was 98.8 % at 1 %. Of a random network of ReLUs on 8 numbers, whose gradients jump most, 96 to 98 %
without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from adcaptum.engine.rows.moments import magnitude
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, with_relative_error
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import Flow, ask, both, report

MOST_INTERVALS = 1024
USUAL_POINTS = 33
_LUCK = 4
_CAUTION = 1.2

Tensors = tuple[Tensor, ...]
Points = Callable[[Tensor, Tensor], Evaluation]
"""Of places on the way, from 0 to 1, and their weights, each float64: an evaluation of one example
whose gradients are the weighted sum."""
Answer = Callable[[Tensors, Tensor], Attribution]
"""Of a weighted sum, linear in it, and the targets at the first points, the way's ends included."""


class Levels(Protocol):
    """Estimates of one integral, each with twice the intervals of the one before."""

    @property
    def most(self) -> int:
        """With how many intervals to stop, whatever the error."""
        ...

    def begin(self) -> Flow[tuple[Attribution, Attribution]]:
        """Estimates with two intervals, and with four."""
        ...

    def halve(self, intervals: int) -> Flow[Attribution]:
        """Estimates with twice so many intervals, those of the estimate before."""
        ...


def refined(levels: Levels, tolerance: float) -> Flow[Attribution]:
    """Halves intervals until the error is below the tolerance; reports after each refinement.

    Args:
        levels: Estimates for one example.
        tolerance: How large the sum of errors may be, relative to that of the values' magnitudes.
    """
    coarse, fine = yield from levels.begin()
    intervals = 4
    before = torch.zeros(())
    while True:
        change = magnitude(tuple(f - c for f, c in zip(fine.values, coarse.values, strict=True)))
        before = before.to(change)
        answer = with_relative_error(
            fine, _CAUTION * torch.maximum(change, before / _LUCK), tolerance
        )
        # From what is no number finer steps do not lead back.
        hopeless = bool(change.isnan().any())
        if answer.stop_reason is StopReason.CONVERGED or intervals >= levels.most or hopeless:
            return answer
        yield from report(answer)
        coarse, before = fine, change
        fine = yield from levels.halve(intervals)
        intervals *= 2


class Trapezoid:
    """The trapezoidal rule: halving all intervals needs the new midpoints alone."""

    __slots__ = ("_answer", "_first", "_points", "_sums", "most")

    def __init__(self, points: Points, answer: Answer, most: int = MOST_INTERVALS) -> None:
        self.most = most
        self._points = points
        self._answer = answer
        self._sums: Tensors = ()
        self._first = torch.zeros(0)

    def begin(self) -> Flow[tuple[Attribution, Attribution]]:
        # The start, the middle, the end.
        first = self._ask([0, 0.5, 1], [0.25, 0.5, 0.25])
        (self._first, self._sums), (_, middles) = yield from both(
            first, self._ask([0.25, 0.75], [0.5, 0.5])
        )
        return self._answer(self._sums, self._first), self._joined(middles)

    def halve(self, intervals: int) -> Flow[Attribution]:
        alphas = (torch.arange(intervals) + 0.5) / intervals
        _, middles = yield from self._ask(alphas.tolist(), [1 / intervals] * intervals)
        return self._joined(middles)

    def _joined(self, middles: Tensors) -> Attribution:
        self._sums = tuple((c + m) / 2 for c, m in zip(self._sums, middles, strict=True))
        return self._answer(self._sums, self._first)

    def _ask(self, alphas: list[float], weights: list[float]) -> Flow[tuple[Tensor, Tensors]]:
        places, shares = (torch.tensor(n, dtype=torch.float64) for n in (alphas, weights))
        reading = yield from ask(self._points(places, shares))
        return reading.values, reading.gradients
