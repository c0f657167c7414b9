"""Conductance: how much of an integrated gradient flows through each of a layer's neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.layers.increments import Increments
from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_and_weights
from adcaptum.engine.methods.paths.refinement import (
    FIRST_INTERVALS,
    MOST_INTERVALS,
    USUAL_POINTS,
    refined,
)
from adcaptum.engine.methods.paths.trapezoid import interleaved, warped
from adcaptum.engine.rows.accumulator import summable
from adcaptum.engine.rows.reduce import Stack, widened
from adcaptum.engine.rows.sources import Path
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.evaluation import Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

# The most values and gradients of one example's layer that are kept.
_MOST_NUMBERS = 1 << 26

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Conductance:
    """The target's gradient at a layer times the layer's change, along the inputs' path.

    Dhamdhere, Sundararajan, Yan (2018), https://arxiv.org/abs/1805.12233, equation 4; summed as
    Shrikumar, Su, Kundaje (2018), https://arxiv.org/abs/1807.09946, section 2: n_steps differences
    between neighbours among n_steps + 1 points. The conductances of a layer that is the only way
    through the model sum to the output less the output at the baseline, up to the error of the sum;
    those of another layer lack the part that passes it by, which the completeness error gives.
    """

    traits: ClassVar[Traits] = Traits(
        name="conductance",
        paper="https://arxiv.org/abs/1805.12233",
        gradient=True,
        baseline=True,
        layer="required",
        tolerance=True,
        held=3.0,
        held_to_tolerance=18.0,
    )

    n_steps: int = parameter(50, "Steps on the path.", minimum=1, maximum=10_000)
    method: Rule = parameter("gausslegendre", "The rule whose points are taken.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Integrates; with a tolerance, reports after each refinement.

        Raises:
            InvalidArgument: If no layer is named, or the inputs are not floating-point.
        """
        if explicand.tolerance is not None:
            return (yield from example_by_example(_refined, explicand))
        alphas = _points(self.method, self.n_steps + 1, explicand.with_error)
        ends = int(explicand.with_error)
        path = Path(explicand.inputs, explicand.paired_baselines(), alphas)
        fold = Increments(ends, len(alphas) - ends)
        reading = yield from ask(explicand.from_inputs(path, read=True, reduce=fold))
        outputs = reading.values.view(explicand.count, -1)[:, [0, -1]]
        return _answer(explicand, reading.gradients, outputs)

    def rows(self, explicand: Explicand) -> int:
        """The points of each example, and its ends for the error.

        With a tolerance, the usual number.
        """
        points = self.n_steps + 1 + 2 * explicand.with_error
        if explicand.tolerance is not None:
            points = USUAL_POINTS
        return explicand.count * points


def _refined(explicand: Explicand) -> Flow[Attribution]:
    """Refines until the tolerance is met, for one example."""
    assert explicand.tolerance is not None, "it stops when a tolerance is met"
    return (yield from refined(_AlongValues(explicand), explicand.tolerance))


class _AlongValues:
    """The trapezoidal rule along the layer's values: neighbours' mean gradient times the step.

    The points of before are kept, because their values are where new steps begin and end.
    """

    __slots__ = ("_explicand", "_gradients", "_outputs", "_values")
    first: ClassVar[int] = FIRST_INTERVALS

    def __init__(self, explicand: Explicand) -> None:
        self._explicand = explicand
        self._gradients: Tensors = ()
        self._values: Tensors = ()
        self._outputs = torch.zeros(0)

    @property
    def most(self) -> int:
        elements = max(1, sum(v[0].numel() for v in self._values))
        return max(2 * self.first, min(MOST_INTERVALS, _MOST_NUMBERS // elements))

    def begin(self) -> Flow[tuple[Estimate, Estimate]]:
        intervals = 2 * self.first
        reading = yield from self._ask(torch.arange(intervals + 1) / intervals)
        self._outputs = reading.values
        self._gradients = widened(reading.gradients)
        self._values = widened(reading.activations)
        return self._estimate(step=2), self._estimate()

    def halve(self, intervals: int) -> Flow[Estimate]:
        reading = yield from self._ask((torch.arange(intervals) + 0.5) / intervals)
        self._outputs = interleaved(self._outputs, reading.values)
        self._gradients = _interleaved(self._gradients, widened(reading.gradients))
        self._values = _interleaved(self._values, widened(reading.activations))
        return self._estimate()

    def _estimate(self, step: int = 1) -> Estimate:
        """The rule over every point, or every other."""
        sums = tuple(
            _along(g[::step], v[::step]) for g, v in zip(self._gradients, self._values, strict=True)
        )
        outputs = self._outputs[::step]
        answer = _answer(self._explicand, sums, outputs[None, [0, -1]])
        # The sums of a layer that is not the only way through the model lack a part of the change.
        return Estimate.of(answer, outputs, sums, partial=True)

    def _ask(self, places: Tensor) -> Flow[Reading]:
        explicand = self._explicand
        alphas, _ = warped(places.double())
        path = Path(explicand.inputs, explicand.paired_baselines(), alphas)
        return (yield from ask(explicand.from_inputs(path, read=True, reduce=Stack())))


def _along(gradients: Tensor, values: Tensor) -> Tensor:
    """The trapezoidal rule along values, each (points, *features): (1, *features)."""
    sums = torch.trapezoid(summable(gradients), summable(values), dim=0)[None]
    return sums.to(gradients.dtype)


def _interleaved(outer: Tensors, inner: Tensors) -> Tensors:
    """The points of two grids by turns: n between n + 1."""
    return tuple(interleaved(a, b) for a, b in zip(outer, inner, strict=True))


def _answer(explicand: Explicand, values: Tensors, outputs: Tensor) -> Attribution:
    """Builds the answer from the outputs at start and end, (examples, 2)."""
    if not explicand.with_error:
        return Attribution(values)
    baseline_output, output = outputs.unbind(1)
    error = completeness_error(values, output, baseline_output)
    return Attribution(values, output, baseline_output, error)


@lru_cache(maxsize=256)
def _points(rule: Rule, n: int, with_ends: bool) -> Tensor:
    """The points of the path; the ends, which give the error, come before and after."""
    alphas, _ = nodes_and_weights(rule, n)
    if not with_ends:
        return alphas
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return torch.cat([zero, alphas, one])
