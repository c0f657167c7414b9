"""Gradients at random points of random lines through the inputs, sample by sample.

GradientShap's samples where gradients are taken at a layer, or each sample's own completeness is
wanted. They have the addresses of GradientShap's: the same seed draws the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.noise import Lines, choose_lines
from adcaptum.engine.rows.reduce import Stack, widened
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, gather

MOST_AT_ONCE: Final = 64
"""The most samples that are held at once, whatever their number in all."""
_MOST_ELEMENTS = 1 << 20

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Some samples of every example.

    Attributes:
        values: For each tensor at the site, (examples, samples, *features).
        deltas: The sum of each sample's values less the output's difference between its line's
            ends, (examples, samples); empty if they were not asked for.
    """

    values: Tensors
    deltas: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LineSamples:
    """A sampler of gradients on lines.

    Attributes:
        explicand: The explicand, at the inputs or at a layer; the rows of its baselines are a
            distribution.
        stdev: The standard deviation of noise on the inputs, or one for each.
        multiply: Whether gradients are multiplied by the difference between the values at the
            line's ends.
        deltas: Whether each sample's delta is wanted.
    """

    explicand: Explicand
    stdev: float | tuple[float, ...]
    multiply: bool
    deltas: bool

    def chunks(self, samples: int) -> Iterator[tuple[int, int]]:
        """Cuts a number of samples into chunks that are held at once: the first, and the number."""
        elements = sum(t.numel() for t in self.explicand.inputs)
        size = min(MOST_AT_ONCE, max(1, _MOST_ELEMENTS // max(1, elements)))
        return iter([(first, min(size, samples - first)) for first in range(0, samples, size)])

    def take(self, first: int, size: int) -> Flow[Samples]:
        """Draws samples first..first + size.

        Raises:
            InvalidArgument: If the baselines of several inputs are not as many.
        """
        lines = self._lines(first, size)
        asked = [self._gradient(lines)]
        if self.evaluations == 3:
            asked += [self._forward(lines, at) for at in (1, 0)]
        gradient, *ends = yield from gather([ask(evaluation) for evaluation in asked])
        values = widened(gradient.gradients)
        if self.multiply and self.explicand.at == INPUT:
            steps = replace(lines, displacement=True).take(0, len(lines))
            values = tuple(g * step for g, step in zip(values, steps, strict=True))
        elif self.multiply:
            sides = zip(*(widened(end.activations) for end in ends), strict=True)
            values = tuple(g * (b - a) for g, (b, a) in zip(values, sides, strict=True))
        deltas = values[0].new_empty(0)
        if self.deltas:
            total = torch.stack([v.reshape(len(v), -1).sum(1) for v in values]).sum(0)
            deltas = (total - (ends[0].values - ends[1].values)).view(-1, size)
        shape = (self.explicand.count, size)
        return Samples(tuple(v.unflatten(0, shape) for v in values), deltas)

    @property
    def evaluations(self) -> int:
        """The rows of a sample: the gradient's, and the line's ends where they matter."""
        return 3 if self.deltas or (self.multiply and self.explicand.at != INPUT) else 1

    def _lines(self, first: int, size: int) -> Lines:
        explicand = self.explicand
        given = explicand.baselines
        if given is None:
            given = tuple(torch.zeros_like(t[:1]) for t in explicand.inputs)
        counts = {len(t) for t in given}
        if len(counts) > 1:
            raise InvalidArgument(
                "baselines", f"of {sorted(counts)} rows", "as many rows for every input"
            )
        choices, alphas = choose_lines(explicand.seed, first, size, len(given[0]))
        starts = tuple(t.unsqueeze(0) for t in given)
        ends = explicand.inputs
        return Lines(ends, starts, choices, alphas, self.stdev, explicand.seed, first)

    def _gradient(self, lines: Lines) -> Evaluation:
        if self.explicand.at == INPUT:
            return self.explicand.evaluation(lines, gradient=True)
        return self.explicand.from_inputs(lines, reduce=Stack())

    def _forward(self, lines: Lines, at: float) -> Evaluation:
        """The evaluation of the lines' ends (1), or starts (0)."""
        rows = replace(lines, alphas=torch.full_like(lines.alphas, at))
        evaluation = replace(self.explicand, at=INPUT).evaluation(rows)
        if not self.multiply or self.explicand.at == INPUT:
            return evaluation
        target = evaluation.target if self.deltas else None
        return replace(evaluation, read=self.explicand.at, target=target, outputs=self.deltas)
