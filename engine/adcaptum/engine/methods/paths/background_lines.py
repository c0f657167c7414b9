"""The average gradient of an example over lines from its background, to a tolerance.

A background of up to 256 rows without noise is swept: every row has the same points on its line,
twice as many from one refinement to the next. The jumps of gradients lie in other places on each
line and even out, so that the error falls faster than on a single line. Larger backgrounds, and
noise, are sampled by replicates of scattered points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.grouped_sums import GroupedSums
from adcaptum.engine.methods.paths.refinement import FIRST_INTERVALS, MANY_PATHS, ONE_PATH, refined
from adcaptum.engine.methods.paths.scattered_lines import scattered_lines
from adcaptum.engine.methods.paths.trapezoid import Trapezoid
from adcaptum.engine.rows.noise import Lines
from adcaptum.engine.rows.randomness import address
from adcaptum.engine.rows.reduce import Reduce, WeightedSum
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.sampling.adaptive import MOST_ROWS, sampled
from adcaptum.engine.sampling.replicates import Replicates
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.backgrounds import backgrounds
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, both, target_at_inputs

Tensors = tuple[Tensor, ...]
At = Callable[[Rows, Reduce], Evaluation]
"""Evaluates the gradient at rows."""

_MOST_SWEPT = 256
_MANY = 8
_USUAL_INTERVALS = 8
_REPLICATES = 8
_FIRST = 2
# Between that of chance, 1/2, and that of points spread over a smooth function, 1.
_ORDER = 0.75
_USUAL_POINTS = 1000
_NOISE = 34


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundLines:
    """Lines from a background to one example.

    Attributes:
        explicand: The example, with a tolerance.
        at: Evaluates the gradient at points of the lines.
        ends: The lines' common end, each (1, *features).
        starts: Their starts, each (1, rows, *features).
        factors: The ends and starts whose differences multiply the gradients; None: ones.
        stdevs: The standard deviation of noise on the ends.
        complete: Whether the values sum to the output less the background's mean output.
    """

    explicand: Explicand
    at: At
    ends: Tensors
    starts: Tensors
    factors: tuple[Tensors, Tensors] | None
    stdevs: float = 0.0
    complete: bool = True

    def average(self) -> Flow[Attribution]:
        """Sweeps or samples until the tolerance is met; reports after each round."""
        tolerance = self.explicand.tolerance
        assert tolerance is not None, "it stops when a tolerance is met"
        rows = self.starts[0].shape[1]
        if swept(rows, self.stdevs):
            sweep = Trapezoid(
                self._sweep,
                self._estimate,
                # Many rows have their kinks in as many places.
                first=FIRST_INTERVALS if rows < _MANY else FIRST_INTERVALS // 2,
                most=MOST_ROWS // rows,
                outputs_of=self._by_point,
            )
            caution = ONE_PATH if rows < _MANY else MANY_PATHS
            return (yield from refined(sweep, tolerance, caution))
        sampler = _Sampler(self)
        most = MOST_ROWS // _REPLICATES
        return (yield from sampled(sampler.draw, tolerance, first=_FIRST, most=most, order=_ORDER))

    def _sweep(self, alphas: Tensor, weights: Tensor) -> Evaluation:
        """The same points on the line from each row, and the lines' common end once."""
        rows = self.starts[0].shape[1]
        inside = alphas < 1
        choices = torch.arange(rows).repeat(int(inside.sum()))
        shares = (weights[inside] / rows).repeat_interleave(rows)
        places = alphas[inside].repeat_interleave(rows)
        with_end = not bool(inside.all())
        if with_end:
            # The factor of the gradient there is, on average, the difference to the mean row.
            choices = torch.cat([choices, torch.tensor([rows])])
            shares = torch.cat([shares, weights[~inside]])
            places = torch.cat([places, alphas[~inside]])
        points, factors = self.lines(choices, places, with_mean=with_end)
        return self.at(points, WeightedSum(shares, factors))

    def lines(
        self, choices: Tensor, alphas: Tensor, noise: int = 0, *, with_mean: bool = False
    ) -> tuple[Lines, Lines | None]:
        """Points of the lines, and the factors of their gradients.

        Args:
            choices: The rows of the background; one more is their mean.
            alphas: The fractions of the lines.
            noise: Where noise begins.
            with_mean: Whether there is one more, whose points are all at the lines' end.
        """
        rows = self.starts[0].shape[1]
        # The end is the same on every line.
        of_points = choices.clamp_max(rows - 1) if with_mean else choices
        points = Lines(self.ends, self.starts, of_points, alphas, self.stdevs, noise, 0)
        if self.factors is None:
            return points, None
        ends, starts = self.factors
        if with_mean:
            starts = tuple(torch.cat([s, s.mean(1, keepdim=True)], 1) for s in starts)
        return points, Lines(
            ends, starts, choices, alphas, self.stdevs, noise, 0, displacement=True
        )

    def _by_point(self, values: Tensor, points: int) -> Tensor:
        """The target on each line, (points, rows), of a sweep's rows."""
        rows = self.starts[0].shape[1]
        if len(values) == points * rows:
            return values.view(points, rows)
        # The lines' common end has one row.
        return torch.cat([values[:-1].view(points - 1, rows), values[-1:].expand(1, rows)])

    def _estimate(self, averages: Tensors, outputs: Tensor) -> Estimate:
        """Builds an estimate from outputs, (points, rows)."""
        complete = self.complete and self.factors is not None
        return Estimate.of(self._answer(averages, outputs), outputs, averages if complete else None)

    def _answer(self, averages: Tensors, outputs: Tensor) -> Attribution:
        if not self.explicand.with_error:
            return Attribution(averages)
        output = outputs[-1, :1]
        if not self.complete or self.factors is None:
            return Attribution(averages, output=output)
        baseline_output = outputs[0].mean(0, keepdim=True)
        error = completeness_error(averages, output, baseline_output)
        return Attribution(averages, output, baseline_output, error)


def average_gradient(
    explicand: Explicand, *, multiply: bool, stdevs: float = 0.0
) -> Flow[Attribution]:
    """The average over lines between the values at the explained site, for one example."""
    ends, starts = yield from backgrounds(explicand)
    at = partial(_gradient_at, explicand)
    factors = (ends, starts) if multiply else None
    return (yield from BackgroundLines(explicand, at, ends, starts, factors, stdevs).average())


def _gradient_at(explicand: Explicand, rows: Rows, reduce: Reduce) -> Evaluation:
    return explicand.evaluation(rows, gradient=True, reduce=reduce)


@dataclass(slots=True, eq=False)
class _Sampler:
    """Replicates of scattered points on lines."""

    lines: BackgroundLines
    output: Tensor | None = None
    replicates: Replicates = field(default_factory=Replicates)

    def draw(self, size: int) -> Flow[tuple[Attribution, Tensor]]:
        explicand = self.lines.explicand
        asked = ask(self._points(self.replicates.count, size))
        if explicand.with_error and self.output is None:
            self.output, reading = yield from both(target_at_inputs(explicand), asked)
        else:
            reading = yield from asked
        self.replicates.add(reading.gradients, size)
        return self.replicates.answer(self.output)

    def _points(self, first: int, size: int) -> Evaluation:
        seed, rows = self.lines.explicand.seed, self.lines.starts[0].shape[1]
        choices, alphas = scattered_lines(seed, _REPLICATES, first, size, rows)
        points, factors = self.lines.lines(choices, alphas, address(seed, _NOISE, first))
        return self.lines.at(points, GroupedSums(_REPLICATES, factors))


def swept(rows: int, stdevs: float) -> bool:
    """True if every row of a background has the same points, and none are sampled."""
    return rows <= _MOST_SWEPT and not stdevs


def usual_points(explicand: Explicand, stdevs: float = 0.0) -> int:
    """The usual number of points of an example, with its output."""
    given = explicand.starts or explicand.baselines or ()
    # A baseline without dimensions is that number everywhere.
    rows = max((len(t) for t in given if t.dim()), default=1)
    if swept(rows, stdevs):
        return rows * _USUAL_INTERVALS + 1
    assert explicand.tolerance is not None, "it stops when a tolerance is met"
    points = _USUAL_POINTS * (0.05 / explicand.tolerance) ** (1 / _ORDER)
    return min(MOST_ROWS, ceil(points)) + explicand.with_error
