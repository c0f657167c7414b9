"""Integrated gradients: the gradient averaged over the path from the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_with_ends
from adcaptum.engine.methods.paths.refinement import USUAL_POINTS, refined
from adcaptum.engine.methods.paths.trapezoid import Trapezoid
from adcaptum.engine.rows.reduce import WeightedSum, widened
from adcaptum.engine.rows.sources import Path
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.endpoints import endpoint_rows, endpoints
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class IntegratedGradients:
    """The gradient averaged over the straight path from the baseline, times the difference.

    Sundararajan, Taly, Yan (2017), https://arxiv.org/abs/1703.01365, equation 1. The attributions
    sum to the output less the output at the baseline, up to the error of the quadrature.
    """

    traits: ClassVar[Traits] = Traits(
        name="integrated_gradients",
        paper="https://arxiv.org/abs/1703.01365",
        gradient=True,
        baseline=True,
        tolerance=True,
        held=2.0,
        held_to_tolerance=6.0,
    )

    n_steps: int = parameter(50, "Points on the path.", minimum=1, maximum=10_000)
    method: Rule = parameter("gausslegendre", "The rule of the quadrature.")
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the average gradient."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Integrates; with a tolerance, reports after each refinement."""
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._refined, explicand))
        ends, starts = yield from endpoints(explicand)
        alphas, weights = nodes_with_ends(self.method, self.n_steps, with_ends=explicand.with_error)
        reading = yield from ask(
            explicand.evaluation(
                Path(ends, starts, alphas), gradient=True, reduce=WeightedSum(weights)
            )
        )
        outputs = reading.values.view(explicand.count, -1)[:, [0, -1]]
        return self._answer(explicand, reading.gradients, _differences(ends, starts), outputs)

    def _refined(self, explicand: Explicand) -> Flow[Attribution]:
        """Refines until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        ends, starts = yield from endpoints(explicand)
        differences = _differences(ends, starts)

        def points(alphas: Tensor, weights: Tensor) -> Evaluation:
            path = Path(ends, starts, alphas)
            return explicand.evaluation(path, gradient=True, reduce=WeightedSum(weights))

        def answer(averages: tuple[Tensor, ...], outputs: Tensor) -> Estimate:
            made = self._answer(explicand, averages, differences, outputs[None, [0, -1]])
            # The part of the gradient that flows through some neurons has no such sum.
            whole = explicand.through is None
            return Estimate.of(made, outputs, _products(averages, differences) if whole else None)

        return (yield from refined(Trapezoid(points, answer), explicand.tolerance))

    def _answer(
        self,
        explicand: Explicand,
        averages: tuple[Tensor, ...],
        differences: tuple[Tensor, ...],
        outputs: Tensor,
    ) -> Attribution:
        """Builds the answer from the outputs at start and end, (examples, 2)."""
        products = _products(averages, differences)
        values = products if self.multiply_by_inputs else averages
        if not explicand.with_error:
            return Attribution(values)
        baseline_output, output = outputs.unbind(1)
        error = completeness_error(products, output, baseline_output)
        return Attribution(values, output, baseline_output, error)

    def rows(self, explicand: Explicand) -> int:
        """The steps of each example, its ends for the error, at a site the reading of its values.

        With a tolerance, the usual number.
        """
        points = self.n_steps + 2 * explicand.with_error
        if explicand.tolerance is not None:
            points = USUAL_POINTS
        return explicand.count * points + endpoint_rows(explicand)


def _products(averages: tuple[Tensor, ...], differences: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(g * d for g, d in zip(averages, differences, strict=True))


def _differences(ends: tuple[Tensor, ...], starts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x - x0 for x, x0 in zip(widened(ends), widened(starts), strict=True))
