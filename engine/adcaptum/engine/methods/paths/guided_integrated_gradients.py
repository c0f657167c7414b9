"""Guided integrated gradients: integrated gradients on a path that keeps to small gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.guided_path import GuidedPath
from adcaptum.engine.methods.paths.refinement import FIRST_INTERVALS, MOST_INTERVALS, refined
from adcaptum.engine.rows.accumulator import Accumulator, summable
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.endpoints import endpoint_rows, endpoints
from adcaptum.engine.vocabulary.evaluation import Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, both, example_by_example
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

Tensors = tuple[Tensor, ...]

# 4, 8, 16 and 32 steps.
_USUAL_STEPS = 60


@dataclass(frozen=True, slots=True)
class GuidedIntegratedGradients:
    """The gradient integrated along a path that moves elements of small gradients first.

    Kapishnikov et al. (2021), https://arxiv.org/abs/2106.09788, algorithm 1: noise of the model far
    from the input counts less than on the straight path. The integral on each step is the mean of
    the gradients at its ends, where the paper takes the one at its start: along one path the error
    falls with the square of the steps' length. The values sum to the output less the output at the
    baseline, up to that error. Steps follow each other, so that it takes longer than other methods
    of as many rows.

    Completeness is poor for inputs of many elements: contributions of both signs are many times the
    output's change, and 1 % of their magnitudes was 22 to 96 % of the change on photographs
    (docs/decisions/0013). Paths of more steps are other paths, so that the error need not fall.
    With a tolerance the number of steps is doubled until values and completeness agree, and every
    number begins anew.
    """

    traits: ClassVar[Traits] = Traits(
        name="guided_integrated_gradients",
        paper="https://arxiv.org/abs/2106.09788",
        gradient=True,
        baseline=True,
        tolerance=True,
        held=12.0,
        held_to_tolerance=24.0,
    )

    n_steps: int = parameter(50, "Steps on the path.", minimum=1, maximum=10_000)
    fraction: float = parameter(
        0.25,
        "The share of the elements that move at a time, those of the smallest gradients.",
        minimum=0.01,
        maximum=1,
    )
    max_dist: float = parameter(
        0.02,
        "The distance of an element from the straight path, ahead or behind, at most, as a share "
        "of its own; 0 is integrated gradients on the straight path.",
        minimum=0,
        maximum=1,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Integrates; with a tolerance, reports after each number of steps."""
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._refined, explicand))
        ends, starts = yield from endpoints(explicand)
        begin = yield from ask(explicand.evaluation(Given(starts), gradient=True))
        walked = yield from self._walk(explicand, ends, starts, begin, self.n_steps)
        return walked.attribution

    def _refined(self, explicand: Explicand) -> Flow[Attribution]:
        """Doubles the steps until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        ends, starts = yield from endpoints(explicand)
        begin = yield from ask(explicand.evaluation(Given(starts), gradient=True))
        walks = _Walks(partial(self._walk, explicand, ends, starts, begin))
        return (yield from refined(walks, explicand.tolerance))

    def _walk(
        self, explicand: Explicand, ends: Tensors, starts: Tensors, begin: Reading, steps: int
    ) -> Flow[_Walk]:
        """Walks a path of a number of steps, from the reading at the baseline."""
        path = GuidedPath(
            _joined(starts),
            _joined(ends),
            steps=steps,
            share=self.fraction,
            leeway=self.max_dist,
        )
        total = Accumulator(torch.zeros_like(summable(path.points)))
        gradients = _joined(begin.gradients)
        reading = begin
        outputs, parts = [begin.values], []
        for number in range(1, steps + 1):
            moved = path.step(number, gradients)
            rows = ends if number == steps else _parted(path.points, ends)
            reading = yield from ask(explicand.evaluation(Given(rows), gradient=True))
            later = _joined(reading.gradients)
            part = summable(moved) * (gradients + later) / 2
            total.add(0, len(part), part)
            outputs.append(reading.values)
            parts.append(part.sum(1))
            gradients = later
        values = _parted(total.result(path.points.dtype), widened(ends))
        error = completeness_error(values, reading.values, begin.values)
        answer = Attribution(values, reading.values, begin.values, error)
        return _Walk(answer, torch.stack(outputs, 1), torch.stack(parts, 1))

    def rows(self, explicand: Explicand) -> int:
        """A row for each step and one for the baseline, and at a site the reading of its values.

        With a tolerance, the usual number.
        """
        steps = self.n_steps if explicand.tolerance is None else _USUAL_STEPS
        return explicand.count * (steps + 1) + endpoint_rows(explicand)


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """A whole path of every example.

    Attributes:
        attribution: The integral along it.
        outputs: The target at its points, (examples, steps + 1).
        parts: The part of the integral that each step has, summed over all elements, (examples,
            steps).
    """

    attribution: Attribution
    outputs: Tensor
    parts: Tensor

    def estimate(self) -> Estimate:
        """The estimate for its only example."""
        outputs, (parts,) = self.outputs[0], self.parts
        misses = parts - outputs.diff().to(parts)
        return Estimate.of(self.attribution, outputs, self.attribution.values, misses)


@dataclass(frozen=True, slots=True)
class _Walks:
    """Paths of ever more steps.

    Attributes:
        walk: Walks a path of a number of steps.
    """

    walk: Callable[[int], Flow[_Walk]]
    first: ClassVar[int] = FIRST_INTERVALS
    most: ClassVar[int] = MOST_INTERVALS

    def begin(self) -> Flow[tuple[Estimate, Estimate]]:
        coarse, fine = yield from both(self.walk(self.first), self.walk(2 * self.first))
        return coarse.estimate(), fine.estimate()

    def halve(self, intervals: int) -> Flow[Estimate]:
        return (yield from self.walk(2 * intervals)).estimate()


def _joined(tensors: tuple[Tensor, ...]) -> Tensor:
    """All elements of an example in a row, (examples, elements), in float32 at least."""
    return torch.cat([t.flatten(1) for t in widened(tensors)], 1)


def _parted(joined: Tensor, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The elements in tensors of those shapes and dtypes again."""
    sizes = [prod(t.shape[1:]) for t in like]
    parts = joined.split(sizes, 1)
    return tuple(p.view(t.shape).to(t.dtype) for p, t in zip(parts, like, strict=True))
