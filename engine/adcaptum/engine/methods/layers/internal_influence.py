"""Internal influence: a layer's gradients averaged along the inputs' path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_and_weights
from adcaptum.engine.methods.paths.refinement import USUAL_POINTS, refined
from adcaptum.engine.methods.paths.trapezoid import Trapezoid
from adcaptum.engine.rows.reduce import WeightedSum
from adcaptum.engine.rows.sources import Path
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class InternalInfluence:
    """The target's gradient at a layer, averaged over the inputs' path from the baseline.

    Leino et al. (2018), https://arxiv.org/abs/1802.03788, definition 1, with the uniform
    distribution on the path.
    """

    traits: ClassVar[Traits] = Traits(
        name="internal_influence",
        paper="https://arxiv.org/abs/1802.03788",
        gradient=True,
        baseline=True,
        layer="required",
        tolerance=True,
        held=2.0,
        held_to_tolerance=6.0,
    )

    n_steps: int = parameter(50, "Points on the path.", minimum=1, maximum=10_000)
    method: Rule = parameter("gausslegendre", "The rule of the quadrature.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Integrates; with a tolerance, reports after each refinement.

        Raises:
            InvalidArgument: If no layer is named, or the inputs are not floating-point.
        """
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._refined, explicand))
        alphas, weights = nodes_and_weights(self.method, self.n_steps)
        reading = yield from ask(_average(explicand, alphas, weights))
        return Attribution(reading.gradients)

    def rows(self, explicand: Explicand) -> int:
        """The steps of each example; with a tolerance, the usual number."""
        steps = self.n_steps if explicand.tolerance is None else USUAL_POINTS
        return explicand.count * steps

    def _refined(self, explicand: Explicand) -> Flow[Attribution]:
        """Refines until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        levels = Trapezoid(
            partial(_average, explicand),
            lambda averages, outputs: Estimate.of(Attribution(averages), outputs, None),
        )
        return (yield from refined(levels, explicand.tolerance))


def _average(explicand: Explicand, alphas: Tensor, weights: Tensor) -> Evaluation:
    path = Path(explicand.inputs, explicand.paired_baselines(), alphas)
    return explicand.from_inputs(path, reduce=WeightedSum(weights))
