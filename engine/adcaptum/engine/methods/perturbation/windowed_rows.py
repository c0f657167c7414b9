"""Rows that show the baseline through windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.windows import Windows
from adcaptum.engine.rows.sources import Rows, some

_SMALL = 1 << 16


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
        return self._firsts[-1] + 1

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        if self._small:
            covered = tuple(some(cover, s0, s1) for cover in self._covered)
        else:
            covered = self._inside(s0, s1)
        return tuple(
            torch.where(cover, some(start, e0, e1).unsqueeze(1), some(end, e0, e1).unsqueeze(1))
            for cover, end, start in zip(covered, self.ends, self.starts, strict=True)
        )

    def _inside(self, start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple(
            windows.inside(start - first, stop - first, end.device)
            for windows, first, end in zip(self.windows, self._firsts, self.ends, strict=False)
        )

    @cached_property
    def _firsts(self) -> tuple[int, ...]:
        """The number of the first window over each tensor; at last that of all windows."""
        return tuple(accumulate((windows.count for windows in self.windows), initial=0))

    @cached_property
    def _small(self) -> bool:
        """True if the windows' masks are made once and kept for all batches."""
        if self.ends[0].device.type != "cpu":
            return False
        return self.per_example * sum(prod(w.shape) for w in self.windows) <= _SMALL

    @cached_property
    def _covered(self) -> tuple[Tensor, ...]:
        return self._inside(0, self.per_example)
