"""Expected gradients: integrated gradients averaged over a background set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.background_lines import average_gradient, usual_points
from adcaptum.engine.methods.paths.stratified_lines import stratified_lines
from adcaptum.engine.rows.moments import RunningMoments, largest, rounds
from adcaptum.engine.rows.noise import Lines
from adcaptum.engine.rows.reduce import WeightedSum
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.backgrounds import (
    background_bytes,
    background_endpoint_rows,
    backgrounds,
)
from adcaptum.engine.vocabulary.evaluation import Evaluation, Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import (
    Flow,
    ask,
    both,
    example_by_example,
    gather,
    report,
    target_at_inputs,
)
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

_REPLICATES = 10
_FIRST_ROUND = 2


@dataclass(frozen=True, slots=True)
class ExpectedGradients:
    """Integrated gradients, averaged over all rows of a background set.

    Erion et al. (2021), https://arxiv.org/abs/1906.10670, equation 3. The points are stratified:
    they lie evenly on the path, and every row of the background has as many, where the paper draws
    both at random. The answer is the mean of ten replicates, and their spread gives its standard
    error, with nine degrees of freedom: two standard errors cover 92 of 100. It is calibrated if
    n_samples is a multiple of ten times the background's rows; otherwise it is an upper bound,
    mostly 1.2 to 2.7 times too large, because replicates share out the rows. The values sum to the
    output less the background's mean output, up to that error.
    """

    traits: ClassVar[Traits] = Traits(
        name="expected_gradients",
        paper="https://arxiv.org/abs/1906.10670",
        gradient=True,
        baseline=True,
        random=True,
        background=True,
        distribution=True,
        tolerance=True,
        held=16.0,
        held_to_tolerance=26.0,
    )

    n_samples: int = parameter(
        200,
        "Points for each example, rounded up to a multiple of ten; best ten for each row of the "
        "background, or a multiple.",
        minimum=2,
        maximum=1_000_000,
    )
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the average gradient."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Averages gradients; reports after some replicates.

        The output is the target at the input.
        """
        if explicand.tolerance is not None:
            # The rows of the baselines are a distribution for every example.
            everywhere = replace(explicand, background=True)
            return (yield from example_by_example(self._to_tolerance, everywhere))
        ends, starts = yield from backgrounds(explicand)
        output: Tensor | None = None
        moments = RunningMoments()
        answer: Attribution | None = None
        for size in rounds(self._replicates, _FIRST_ROUND):
            numbers = range(moments.count, moments.count + size)
            asked = _all(self._replicate(explicand, ends, starts, number) for number in numbers)
            if explicand.with_error and output is None:
                output, readings = yield from both(target_at_inputs(explicand), asked)
            else:
                readings = yield from asked
            means = zip(*(reading.gradients for reading in readings), strict=True)
            moments.add(tuple(torch.stack(of_each, 1) for of_each in means))
            errors = moments.standard_errors
            answer = Attribution(
                moments.mean, output=output, standard_error=largest(errors), standard_errors=errors
            )
            yield from report(answer)
        assert answer is not None, "there is at least one replicate"
        return answer

    def rows(self, explicand: Explicand) -> int:
        """The points of each example, its output, and at a site the reading of its values.

        With a tolerance, the usual number.
        """
        each = self._replicates * self._points + explicand.with_error
        if explicand.tolerance is not None:
            each = usual_points(explicand)
        return explicand.count * each + background_endpoint_rows(explicand)

    def held_bytes(self, explicand: Explicand) -> int:
        """The background at a layer, or one of each example."""
        return background_bytes(explicand)

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Refines until the tolerance is met, for one example."""
        multiply = self.multiply_by_inputs
        return (yield from average_gradient(explicand, multiply=multiply))

    @property
    def _replicates(self) -> int:
        return min(_REPLICATES, self.n_samples)

    @property
    def _points(self) -> int:
        """The number of points of a replicate."""
        return -(-self.n_samples // self._replicates)

    def _replicate(
        self,
        explicand: Explicand,
        ends: tuple[Tensor, ...],
        starts: tuple[Tensor, ...],
        number: int,
    ) -> Evaluation:
        points = self._points
        choices, alphas = stratified_lines(explicand.seed, number, points, starts[0].shape[1])
        lines = Lines(ends, starts, choices, alphas, 0.0, explicand.seed, 0)
        scale = replace(lines, displacement=True) if self.multiply_by_inputs else None
        weights = torch.full((points,), 1 / points, dtype=torch.float64)
        return explicand.evaluation(lines, gradient=True, reduce=WeightedSum(weights, scale))


def _all(evaluations: Iterable[Evaluation]) -> Flow[list[Reading]]:
    return gather(map(ask, evaluations))
