"""GradientShap at a layer, on lines through the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods.layers.line_samples import MOST_AT_ONCE, LineSamples
from adcaptum.engine.methods.paths.background_lines import BackgroundLines, usual_points
from adcaptum.engine.rows.moments import RunningMoments, largest
from adcaptum.engine.rows.reduce import Reduce
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.sampling.adaptive import MOST_ROWS, sampled
from adcaptum.engine.sampling.replicates import Replicates
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.backgrounds import background_bytes, backgrounds
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example, report
from adcaptum.engine.vocabulary.method import Traits, value_bytes
from adcaptum.engine.vocabulary.parameters import parameter

_REPLICATES = 16
_FIRST = 2


@dataclass(frozen=True, slots=True)
class LayerGradientShap:
    """The gradient at a layer at random points between random baselines and the input.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, as Captum takes it to layers: the points
    lie between inputs, and gradients are multiplied by the layer's value at the input less that at
    the baseline. `gradient_shap` at a layer has its points between the layer's values; its
    attributions sum to the output's difference.
    """

    traits: ClassVar[Traits] = Traits(
        name="layer_gradient_shap",
        paper="https://arxiv.org/abs/1705.07874",
        gradient=True,
        baseline=True,
        random=True,
        layer="required",
        background=True,
        distribution=True,
        tolerance=True,
        held=4.0,
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
        """Averages samples; reports after each chunk. The output is the target at the input.

        Raises:
            InvalidArgument: If no layer is named, or the inputs are not floating-point.
        """
        if explicand.at == INPUT:
            raise InvalidArgument("layer", "not given", "the method explains the values at a layer")
        if explicand.tolerance is not None:
            # The rows of the baselines are a distribution for every example.
            everywhere = replace(explicand, background=True)
            return (yield from example_by_example(self._to_tolerance, everywhere))
        samples = self._samples(explicand)
        output: Tensor | None = None
        if explicand.with_error:
            output = (yield from ask(explicand.at_inputs())).values
        moments = RunningMoments()
        answer: Attribution | None = None
        for first, size in samples.chunks(self.n_samples):
            taken = yield from samples.take(first, size)
            moments.add(taken.values)
            errors = moments.standard_errors
            answer = Attribution(
                moments.mean, output=output, standard_error=largest(errors), standard_errors=errors
            )
            yield from report(answer)
        assert answer is not None, "there is at least one sample"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Sweeps or samples until the tolerance is met, for one example."""
        if self.stdevs:
            return (yield from self._sampled(explicand))
        factors = None
        if self.multiply_by_inputs:
            factors = yield from backgrounds(explicand)
        _, starts = yield from backgrounds(replace(explicand, at=INPUT))
        lines = BackgroundLines(
            explicand, partial(_gradient_at, explicand), explicand.inputs, starts, factors
        )
        return (yield from replace(lines, complete=False).average())

    def _sampled(self, explicand: Explicand) -> Flow[Attribution]:
        """Draws samples, because each has noise of its own."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        samples = self._samples(explicand)
        output = None
        if explicand.with_error:
            output = (yield from ask(explicand.at_inputs())).values
        replicates = Replicates()

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            for _ in range(size):
                taken = yield from samples.take(replicates.count * _REPLICATES, _REPLICATES)
                replicates.add(taken.values, 1)
            return replicates.answer(output)

        most = MOST_ROWS // (_REPLICATES * samples.evaluations)
        return (yield from sampled(draw, explicand.tolerance, first=_FIRST, most=most))

    def rows(self, explicand: Explicand) -> int:
        """The samples of each example, with the layer at both ends of each, and its output.

        With a tolerance, the usual number.
        """
        each = self.n_samples * self._samples(explicand).evaluations + explicand.with_error
        if explicand.tolerance is not None:
            each = usual_points(explicand, self.stdevs)
        return explicand.count * each

    def held_bytes(self, explicand: Explicand) -> int:
        """The samples that are held at once, with the layer at both ends of each."""
        if explicand.tolerance is not None and not self.stdevs:
            return background_bytes(explicand)
        most = _REPLICATES if explicand.tolerance is not None else MOST_AT_ONCE
        kept = min(most, self.n_samples) * self._samples(explicand).evaluations
        return kept * value_bytes(explicand)

    def _samples(self, explicand: Explicand) -> LineSamples:
        return LineSamples(explicand, self.stdevs, self.multiply_by_inputs, deltas=False)


def _gradient_at(explicand: Explicand, rows: Rows, reduce: Reduce) -> Evaluation:
    return explicand.from_inputs(rows, reduce=reduce)
