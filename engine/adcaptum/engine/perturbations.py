"""Rows in which parts of each example are at the baseline.

Parts are chosen with `torch.where`, never by arithmetic: a NaN in the baseline stays where the
baseline is shown, and token ids stay whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.coalitions import Coalitions
from adcaptum.engine.features import Features
from adcaptum.engine.rows import Rows
from adcaptum.engine.windows import Windows


@dataclass(frozen=True, eq=False)
class Masked(Rows):
    """Each example with the features of each coalition; the others are at the baseline.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        features: What the elements' features are.
        coalitions: The coalitions, the same for all examples.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    features: Features
    coalitions: Coalitions

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.coalitions.count

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        kept = self.features.select(self.coalitions.take(s0, s1, self.ends[0].device))
        return tuple(
            torch.where(keep, end[e0:e1, None], start[e0:e1, None])
            for keep, end, start in zip(kept, self.ends, self.starts, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Windowed(Rows):
    """Each example with the baseline seen through each window; at last the example itself.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        windows: The windows over each tensor. One tensor is covered at a time.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    windows: tuple[Windows, ...]

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return sum(w.count for w in self.windows) + 1

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        made = []
        first = 0
        for windows, end, start in zip(self.windows, self.ends, self.starts, strict=True):
            covered = windows.inside(s0 - first, s1 - first, end.device)
            made.append(torch.where(covered, start[e0:e1, None], end[e0:e1, None]))
            first += windows.count
        return tuple(made)
