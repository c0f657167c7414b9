"""Guided integrated gradients: integrated gradients on a way that keeps to small gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.guided_path import GuidedPath
from adcaptum.engine.methods.paths.refinement import MOST_INTERVALS, refined
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.attribution import Attribution, ErrorKind, completeness_error
from adcaptum.engine.vocabulary.evaluation import Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import (
    Flow,
    ask,
    both,
    endpoint_rows,
    endpoints,
    example_by_example,
)
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

Tensors = tuple[Tensor, ...]

# 2, 4, 8 and 16 steps.
_USUAL_STEPS = 30


@dataclass(frozen=True, slots=True)
class GuidedIntegratedGradients:
    """The gradient, integrated on a way from the baseline that turns to where it is small.

    Kapishnikov et al. (2021), https://arxiv.org/abs/2106.09788, algorithm 1: what lies beside the
    input's own gradients, such as noise of the model far from it, counts less than on the straight
    way. The integral on each step is the mean of the gradients at its ends, where the paper takes
    the one at its start: the error falls with the square of the number of steps. The values sum to
    the output less the output at the baseline, up to that error. Its steps are one after another:
    it takes longer than other methods of as many rows. With a tolerance the number of steps is
    doubled until that changes little, and every number begins anew: ways of different numbers of
    steps have nothing in common but their ends.
    """

    traits: ClassVar[Traits] = Traits(
        name="guided_integrated_gradients",
        paper="https://arxiv.org/abs/2106.09788",
        gradient=True,
        baseline=True,
        tolerance=True,
    )

    n_steps: int = parameter(50, "Steps on the way.", minimum=1, maximum=10_000)
    fraction: float = parameter(
        0.25,
        "How many of the elements move at a time, those of the smallest gradients, as a share of "
        "all.",
        minimum=0.01,
        maximum=1,
    )
    max_dist: float = parameter(
        0.02,
        "How far an element may be ahead of the straight way or behind it, as a share of its own "
        "way; 0 is integrated gradients on the straight way.",
        minimum=0,
        maximum=1,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; with a tolerance, reports after each number of steps."""
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._refined, explicand))
        ends, starts = yield from endpoints(explicand)
        begin = yield from ask(explicand.evaluation(Given(starts), gradient=True))
        return (yield from self._walk(explicand, ends, starts, begin, self.n_steps))

    def _refined(self, explicand: Explicand) -> Flow[Attribution]:
        """Goes on until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        ends, starts = yield from endpoints(explicand)
        begin = yield from ask(explicand.evaluation(Given(starts), gradient=True))
        walks = _Walks(partial(self._walk, explicand, ends, starts, begin))
        return (yield from refined(walks, explicand.tolerance))

    def _walk(
        self, explicand: Explicand, ends: Tensors, starts: Tensors, begin: Reading, steps: int
    ) -> Flow[Attribution]:
        """Goes so many steps, from the reading at the baseline."""
        path = GuidedPath(
            _joined(starts),
            _joined(ends),
            steps=steps,
            share=self.fraction,
            leeway=self.max_dist,
        )
        total = torch.zeros_like(path.points)
        gradients = _joined(begin.gradients)
        reading = begin
        for number in range(1, steps + 1):
            moved = path.step(number, gradients)
            rows = ends if number == steps else _parted(path.points, ends)
            reading = yield from ask(explicand.evaluation(Given(rows), gradient=True))
            later = _joined(reading.gradients)
            total += moved * (gradients + later) / 2
            gradients = later
        values = _parted(total, widened(ends))
        error = completeness_error(values, reading.values, begin.values)
        return Attribution(values, error, ErrorKind.COMPLETENESS, reading.values, begin.values)

    def rows(self, explicand: Explicand) -> int:
        """A row for each step and one for the baseline, and at a site what stands there.

        With a tolerance, as many as it usually takes.
        """
        steps = self.n_steps if explicand.tolerance is None else _USUAL_STEPS
        return explicand.count * (steps + 1) + endpoint_rows(explicand)


@dataclass(frozen=True, slots=True)
class _Walks:
    """Ways of ever more steps.

    Attributes:
        walk: Goes so many steps.
    """

    walk: Callable[[int], Flow[Attribution]]
    most: ClassVar[int] = MOST_INTERVALS

    def begin(self) -> Flow[tuple[Attribution, Attribution]]:
        return (yield from both(self.walk(2), self.walk(4)))

    def halve(self, intervals: int) -> Flow[Attribution]:
        return (yield from self.walk(2 * intervals))


def _joined(tensors: tuple[Tensor, ...]) -> Tensor:
    """All elements of an example in a row, (examples, elements), in float32 at least."""
    return torch.cat([t.flatten(1) for t in widened(tensors)], 1)


def _parted(joined: Tensor, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The elements in tensors of those shapes and dtypes again."""
    sizes = [prod(t.shape[1:]) for t in like]
    parts = joined.split(sizes, 1)
    return tuple(p.view(t.shape).to(t.dtype) for p, t in zip(parts, like, strict=True))
