"""Rows in sample-major order, for forwards that give one answer for all examples together.

Each sample of all examples is one block of rows, so that a batch with one row per example is the
caller's own batch, perturbed in one way. Forwards that give one number for a batch, or that accept
batches of one size only, need this order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.vocabulary.evaluation import Evaluation, Patch, Reading


@dataclass(frozen=True, eq=False)
class SampleMajor(Rows):
    """The rows of another source, the first samples of all examples first.

    Attributes:
        rows: The source.
    """

    rows: Rows

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.rows.like

    @property
    def count(self) -> int:
        return self.rows.count

    @property
    def per_example(self) -> int:
        return self.rows.per_example

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        return self.rows.block(e0, e1, s0, s1)

    def examples(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop) % self.count

    def take(self, start: int, stop: int) -> tuple[Tensor, ...]:
        first, last = start // self.count, (stop - 1) // self.count + 1
        whole = self.rows.block(0, self.count, first, last)
        offset = first * self.count
        sides = [t.transpose(0, 1).flatten(0, 1) for t in whole]
        return tuple(t[start - offset : stop - offset] for t in sides)


def sample_major(evaluation: Evaluation) -> Evaluation:
    """Returns the same evaluation, sample by sample."""
    patch = evaluation.patch
    return replace(
        evaluation,
        rows=SampleMajor(evaluation.rows),
        patch=None if patch is None else Patch(patch.site, SampleMajor(patch.rows)),
    )


def example_major(evaluation: Evaluation, reading: Reading) -> Reading:
    """Returns the reading of a sample-major evaluation, in the evaluation's own order."""
    each = (evaluation.rows.per_example, evaluation.rows.count)

    def back(t: Tensor) -> Tensor:
        return t.unflatten(0, each).transpose(0, 1).flatten(0, 1)

    activations = tuple(back(t) for t in reading.activations)
    return replace(reading, values=back(reading.values), activations=activations)
