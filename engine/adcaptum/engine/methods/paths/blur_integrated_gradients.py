"""Blur-integrated gradients: the gradient integrated while the input comes into focus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.methods.paths.blur import Blurred, Spectra
from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_with_ends
from adcaptum.engine.methods.paths.refinement import USUAL_POINTS, refined
from adcaptum.engine.methods.paths.trapezoid import Trapezoid
from adcaptum.engine.rows.reduce import WeightedSum
from adcaptum.engine.vocabulary.attribution import Attribution, completeness_error
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class BlurIntegratedGradients:
    """The gradient integrated over the path on which the input, blurred at first, comes into focus.

    Xu, Venugopalan, Sundararajan (2020), https://arxiv.org/abs/2004.03383: the integral, over the
    scale of the blur from `max_sigma` down to 0, of the gradient times the derivative of the
    blurred input. No other baseline is needed, and no feature that the input has not is added.
    The values sum to the output less the output at the blurred input, up to the error of the
    quadrature. Beyond its border an input goes on as its mirror image (in the authors' code as
    zeros).
    """

    traits: ClassVar[Traits] = Traits(
        name="blur_integrated_gradients",
        paper="https://arxiv.org/abs/2004.03383",
        gradient=True,
        tolerance=True,
        held=5.0,
        held_to_tolerance=10.0,
    )

    n_steps: int = parameter(50, "Points on the path.", minimum=1, maximum=10_000)
    max_sigma: float | None = parameter(
        None,
        "Standard deviation of the blur at the start, in elements. Default: a quarter of the "
        "longest dimension that is blurred.",
        minimum=0.01,
        maximum=10_000,
    )
    axes: int | None = parameter(
        None,
        "The number of the input's last dimensions to blur. Default: 2, as of images, for "
        "inputs of three dimensions or more without their examples, else 1.",
        minimum=1,
        maximum=3,
    )
    method: Rule = parameter("gausslegendre", "The rule of the quadrature.")

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Integrates; with a tolerance, reports after each refinement.

        Raises:
            InvalidArgument: If an input has too few dimensions, or is not floating-point.
        """
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._refined, explicand))
        integral = yield from self._integral(explicand)
        alphas, weights = nodes_with_ends(self.method, self.n_steps, with_ends=explicand.with_error)
        reading = yield from ask(integral.points(alphas, weights))
        return integral.answer(reading.gradients, reading.values)

    def _refined(self, explicand: Explicand) -> Flow[Attribution]:
        """Refines until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "it stops when a tolerance is met"
        integral = yield from self._integral(explicand)
        levels = Trapezoid(integral.points, integral.estimate)
        return (yield from refined(levels, explicand.tolerance))

    def _integral(self, explicand: Explicand) -> Flow[_Integral]:
        ends = yield from _ends(explicand)
        spectra = Spectra.of(ends, self.axes)
        return _Integral(explicand, ends, spectra, self._most(ends, spectra))

    def rows(self, explicand: Explicand) -> int:
        """The steps of each example, its ends for the error, at a site the reading of its values.

        With a tolerance, the usual number.
        """
        at_site = explicand.at != INPUT and explicand.values is None
        points = self.n_steps + 2 * explicand.with_error
        if explicand.tolerance is not None:
            points = USUAL_POINTS
        return explicand.count * (points + at_site)

    def _most(self, ends: tuple[Tensor, ...], spectra: Spectra) -> float:
        if self.max_sigma is not None:
            return self.max_sigma
        lengths = (max(t.shape[-n:]) for t, n in zip(ends, spectra.axes, strict=True))
        return max(lengths) / 4


@dataclass(frozen=True, slots=True, eq=False)
class _Integral:
    """The integral while the blur goes from `most` to 0."""

    explicand: Explicand
    ends: tuple[Tensor, ...]
    spectra: Spectra
    most: float

    def points(self, alphas: Tensor, weights: Tensor) -> Evaluation:
        rows = Blurred(self.ends, self.spectra, self.most * (1 - alphas))
        reduce = WeightedSum(-self.most * weights, replace(rows, slope=True))
        return self.explicand.evaluation(rows, gradient=True, reduce=reduce)

    def estimate(self, values: tuple[Tensor, ...], outputs: Tensor) -> Estimate:
        """Builds one example's estimate from the outputs on its path."""
        return Estimate.of(self.answer(values, outputs), outputs, values)

    def answer(self, values: tuple[Tensor, ...], outputs: Tensor) -> Attribution:
        """Builds the answer from the outputs on each example's path."""
        if not self.explicand.with_error:
            return Attribution(values)
        baseline_output, output = outputs.view(self.explicand.count, -1)[:, [0, -1]].unbind(1)
        error = completeness_error(values, output, baseline_output)
        return Attribution(values, output, baseline_output, error)


def _ends(explicand: Explicand) -> Flow[tuple[Tensor, ...]]:
    """The values to explain, at the inputs or at a site inside the model."""
    if explicand.at == INPUT:
        return explicand.inputs
    if explicand.values is not None:
        return explicand.values
    return (yield from ask(values_at_site(explicand, explicand.inputs))).activations
