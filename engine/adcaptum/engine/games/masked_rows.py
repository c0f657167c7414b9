"""Rows in which parts of each example are at the baseline.

`torch.where` chooses the elements, not arithmetic: a NaN in the baseline stays where the
baseline is shown, and token ids stay integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Coalitions
from adcaptum.engine.games.features import Features
from adcaptum.engine.rows.sources import Rows, some

_SMALL = 1 << 16


@dataclass(frozen=True, eq=False)
class Masked(Rows):
    """Each example with the features of each coalition; the others are at the baseline.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        features: The features of the elements.
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
        if self._small:
            kept = tuple(some(keep, s0, s1) for keep in self._kept)
        else:
            members = self.coalitions.take(s0, s1, self.ends[0].device)
            kept = self.features.select(members, e0, e1)
        return tuple(
            torch.where(keep, some(end, e0, e1).unsqueeze(1), some(start, e0, e1).unsqueeze(1))
            for keep, end, start in zip(kept, self.ends, self.starts, strict=True)
        )

    @cached_property
    def _small(self) -> bool:
        """True if the masks of all batches are made once and kept."""
        elements = sum(map(prod, self.features.shapes))
        if self.ends[0].device.type != "cpu":
            return False
        return self.coalitions.count * elements <= _SMALL and not self.features.own

    @cached_property
    def _kept(self) -> tuple[Tensor, ...]:
        """The elements of each tensor that each coalition has, (coalitions, *features)."""
        members = self.coalitions.take(0, self.coalitions.count, self.ends[0].device)
        return self.features.select(members)
