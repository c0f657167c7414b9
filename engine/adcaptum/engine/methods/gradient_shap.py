"""GradientShap, also known as expected gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.arguments import PerExample
from adcaptum.engine.attribution import Attribution, ErrorKind
from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.evaluation import INPUT, Evaluation
from adcaptum.engine.explicand import Explicand
from adcaptum.engine.flow import Flow, ask, gather, report, values_at_site
from adcaptum.engine.method import LayerUse
from adcaptum.engine.moments import RunningMoments, largest, rounds
from adcaptum.engine.noise import Lines, choose_lines
from adcaptum.engine.parameters import parameter
from adcaptum.engine.reduce import Moments
from adcaptum.engine.rows import Crossed

_FIRST_ROUND = 16


@dataclass(frozen=True, slots=True)
class GradientShap:
    """The gradient at random points between random baselines and the input, times the difference.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874; Erion et al. (2021),
    https://arxiv.org/abs/1906.10670, equation 3. The mean over the samples estimates the
    attributions, and their spread its standard error.
    """

    name: ClassVar[str] = "gradient_shap"
    paper: ClassVar[str] = "https://arxiv.org/abs/1906.10670"
    gradient: ClassVar[bool] = True
    baseline: ClassVar[bool] = True
    random: ClassVar[bool] = True
    feature_masks: ClassVar[bool] = False
    layer: ClassVar[LayerUse] = "optional"
    background: ClassVar[bool] = True

    n_samples: int = parameter(50, "Random points for each example.", minimum=1, maximum=1_000_000)
    stdevs: float = parameter(
        0.0, "Standard deviation of Gaussian noise on the input, in the input's units.", minimum=0
    )
    multiply_by_inputs: bool = parameter(
        True, "Multiply by the difference to the baseline; false gives the average gradient."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; reports after each round of samples. The output is the target at the input."""
        ends, starts = yield from _ends_and_baselines(explicand)
        output: Tensor | None = None
        if explicand.with_error:
            output = (yield from ask(explicand.at_inputs())).values
        moments = RunningMoments()
        answer: Attribution | None = None
        for size in rounds(self.n_samples, _FIRST_ROUND):
            reading = yield from ask(self._samples(explicand, ends, starts, moments.count, size))
            half = len(ends)
            moments.merge(size, reading.gradients[:half], reading.gradients[half:])
            errors = moments.standard_errors
            answer = Attribution(
                moments.mean, largest(errors), ErrorKind.STANDARD_ERROR, output, None, errors
            )
            yield from report(answer)
        assert answer is not None, "there is at least one sample"
        return answer

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
        """The samples of each example, its output, and at a site the baselines' values there."""
        rows = explicand.count * (self.n_samples + explicand.with_error)
        if explicand.at == INPUT:
            return rows
        baselines = 1 if explicand.baselines is None else len(explicand.baselines[0])
        return rows + explicand.count + baselines * _baseline_examples(explicand)


def _ends_and_baselines(
    explicand: Explicand,
) -> Flow[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """The values to explain, and the baselines of all or each: (1 or examples, baselines, ...)."""
    given = explicand.baselines
    if given is None:
        given = tuple(torch.zeros_like(t[:1]) for t in explicand.inputs)
    if len({len(t) for t in given}) > 1:
        raise InvalidArgument(
            "baselines",
            f"of {sorted({len(t) for t in given})} rows",
            "as many rows for every input",
        )
    if explicand.at == INPUT:
        return explicand.inputs, tuple(t.unsqueeze(0) for t in given)
    crossed = Crossed(given, _baseline_examples(explicand))
    (at_inputs, at_baselines) = yield from gather(
        (
            ask(values_at_site(explicand, explicand.inputs)),
            ask(replace(values_at_site(explicand, given), rows=crossed)),
        )
    )
    starts = tuple(t.view(crossed.count, -1, *t.shape[1:]) for t in at_baselines.activations)
    return at_inputs.activations, starts


def _baseline_examples(explicand: Explicand) -> int:
    """For how many examples the baselines have to be evaluated at a site.

    A layer's value at a baseline may depend on the example's further arguments.
    """
    of_each = any(isinstance(a, PerExample) for a in explicand.arguments.values)
    return explicand.count if of_each else 1
