"""GradientShap, also known as expected gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.paths.background_lines import average_gradient, usual_points
from adcaptum.engine.rows.moments import RunningMoments, largest, rounds
from adcaptum.engine.rows.noise import Lines, choose_lines
from adcaptum.engine.rows.reduce import Moments
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.backgrounds import (
    background_bytes,
    background_endpoint_rows,
    backgrounds,
)
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import (
    Flow,
    ask,
    both,
    example_by_example,
    report,
    target_at_inputs,
)
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

_FIRST_ROUND = 16


@dataclass(frozen=True, slots=True)
class GradientShap:
    """The gradient at random points between random baselines and the input, times the difference.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874; Erion et al. (2021),
    https://arxiv.org/abs/1906.10670, equation 3. The mean over the samples estimates the
    attributions, and their spread its standard error.
    """

    traits: ClassVar[Traits] = Traits(
        name="gradient_shap",
        paper="https://arxiv.org/abs/1906.10670",
        gradient=True,
        baseline=True,
        random=True,
        background=True,
        distribution=True,
        tolerance=True,
        held=9.0,
        held_to_tolerance=26.0,
    )

    n_samples: int = parameter(50, "Random points for each example.", minimum=1, maximum=1_000_000)
    stdevs: float = parameter(
        0.0, "Standard deviation of Gaussian noise on the input, in the input's units.", minimum=0
    )
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the average gradient."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Averages samples; reports after each round. The output is the target at the input."""
        if explicand.tolerance is not None:
            # The rows of the baselines are a distribution for every example.
            everywhere = replace(explicand, background=True)
            return (yield from example_by_example(self._to_tolerance, everywhere))
        ends, starts = yield from backgrounds(explicand)
        output: Tensor | None = None
        moments = RunningMoments()
        answer: Attribution | None = None
        for size in rounds(self.n_samples, _FIRST_ROUND):
            asked = ask(self._samples(explicand, ends, starts, moments.count, size))
            if explicand.with_error and output is None:
                output, reading = yield from both(target_at_inputs(explicand), asked)
            else:
                reading = yield from asked
            half = len(ends)
            moments.merge(size, reading.gradients[:half], reading.gradients[half:])
            errors = moments.standard_errors
            answer = Attribution(
                moments.mean, output=output, standard_error=largest(errors), standard_errors=errors
            )
            yield from report(answer)
        assert answer is not None, "there is at least one sample"
        return answer

    def held_bytes(self, explicand: Explicand) -> int:
        """The background at a layer, or one of each example."""
        return background_bytes(explicand)

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples or sweeps until the tolerance is met, for one example."""
        multiply = self.multiply_by_inputs
        return (yield from average_gradient(explicand, multiply=multiply, stdevs=self.stdevs))

    def _samples(
        self,
        explicand: Explicand,
        ends: tuple[Tensor, ...],
        starts: tuple[Tensor, ...],
        first: int,
        size: int,
    ) -> Evaluation:
        choices, alphas = choose_lines(explicand.seed, first, size, starts[0].shape[1])
        lines = Lines(ends, starts, choices, alphas, self.stdevs, explicand.seed, first)
        scale = replace(lines, displacement=True) if self.multiply_by_inputs else None
        return explicand.evaluation(lines, gradient=True, reduce=Moments(scale))

    def rows(self, explicand: Explicand) -> int:
        """The samples of each example, its output, and at a site the baselines' values there.

        With a tolerance, the usual number.
        """
        each = self.n_samples + explicand.with_error
        if explicand.tolerance is not None:
            each = usual_points(explicand, self.stdevs)
        return explicand.count * each + background_endpoint_rows(explicand)
