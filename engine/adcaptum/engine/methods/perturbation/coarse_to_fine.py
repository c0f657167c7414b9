"""What the target loses behind windows, from coarse to fine: what is known, and how far it is off.

The error of a level is taken to be twice the last change, or half of the one before. At the last
level all windows are known and nothing is off. Of 300 explanations each of cells and digits, with
windows of 4 to 12 numbers and of 3 to 5 pixels squared, one place after another, at most one was
worse than it said, at 20, 10, 5 and 1 %; with a factor of 1.2 instead of 2 up to five in a hundred
(2026-11-23).
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.coarse_windows import BehindWindows, CoarseWindows
from adcaptum.engine.methods.perturbation.windows import Windows
from adcaptum.engine.rows.moments import magnitude

Tensors = tuple[Tensor, ...]

_CAUTION = 2.0
_LUCK = 4


class KnownLosses:
    """The losses of one example behind the windows that were evaluated.

    Attributes:
        output: The target at the example, (games,); None before the first evaluation.
    """

    __slots__ = ("_asked", "_known", "_losses", "_windows", "output")

    def __init__(self, windows: tuple[Windows, ...]) -> None:
        self.output: Tensor | None = None
        self._windows = windows
        self._known = [torch.zeros(w.count, dtype=torch.bool) for w in windows]
        self._losses: list[Tensor] = []
        self._asked: list[Tensor] = []

    def missing(self, ends: Tensors, starts: Tensors, step: int) -> BehindWindows:
        """The rows that a level needs beside those known; at first the example, too."""
        self._asked = []
        for windows, known in zip(self._windows, self._known, strict=True):
            numbers = CoarseWindows(windows, step).numbers
            self._asked.append(numbers[~known[numbers]])
        # One tensor is covered at a time.
        nothing = [torch.full_like(numbers, -1) for numbers in self._asked]
        itself = torch.full((int(self.output is None),), -1)
        rows = [
            torch.cat([*nothing[:i], numbers, *nothing[i + 1 :], itself])
            for i, numbers in enumerate(self._asked)
        ]
        return BehindWindows(ends, starts, self._windows, tuple(rows))

    def add(self, targets: Tensor) -> None:
        """Takes the targets of the rows that were missing, (games, rows)."""
        if self.output is None:
            self.output = targets[:, -1]
            targets = targets[:, :-1]
            self._losses = [targets.new_zeros(len(targets), w.count) for w in self._windows]
        found = (self.output[:, None] - targets).split(list(map(len, self._asked)), 1)
        for numbers, known, losses, new in zip(
            self._asked, self._known, self._losses, found, strict=True
        ):
            known[numbers] = True
            losses[:, numbers.to(losses.device)] = new

    def losses(self, step: int) -> Tensors:
        """Those of all windows, what is not known interpolated, each (games, windows)."""
        return tuple(
            losses if step == 1 else CoarseWindows(windows, step).interpolated(losses)
            for windows, losses in zip(self._windows, self._losses, strict=True)
        )


class Changes:
    """How much each level changed."""

    __slots__ = ("_before", "_change")

    def __init__(self) -> None:
        self._before: Tensors = ()
        self._change: Tensor | None = None

    def wrong(self, values: Tensors) -> Tensor:
        """How much of a level's values may be wrong, (games,); infinite for the first."""
        if not self._before:
            self._before = values
            return torch.full_like(magnitude(values), torch.inf)
        change = magnitude(tuple(v - b for v, b in zip(values, self._before, strict=True)))
        earlier = change if self._change is None else self._change
        self._before, self._change = values, change
        return _CAUTION * torch.maximum(change, earlier / _LUCK)
