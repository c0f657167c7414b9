"""Rows in which parts of each example have the values of the rows of a background set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Coalitions, Without, grand_coalition
from adcaptum.engine.games.features import Features
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows


@dataclass(frozen=True, eq=False)
class Intervened(Rows):
    """Each example with the features of each coalition, and the others of each background row.

    Each coalition has one row for each background row, side by side. The coalition of all features
    needs no background: it comes last, in a single row.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: The background rows of all examples or of each, (1 or examples, rows, *features).
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
        return self._mixed + (self._grand is not None)

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        device = self.ends[0].device
        rows = torch.arange(s0, min(s1, self._mixed), device=device)
        first = s0 // self._each
        members = self._partial.take(first, (s0 + len(rows) - 1) // self._each + 1, device)
        members = members[rows.div(self._each, rounding_mode="floor") - first]
        if s1 > self._mixed:
            members = torch.cat([members, members.new_ones(1, members.shape[1])])
            rows = torch.cat([rows, rows.new_zeros(1)])
        made = []
        kept = self.features.select(members, e0, e1)
        for keep, end, start in zip(kept, self.ends, self.starts, strict=True):
            of_examples = start if len(start) == 1 else start[e0:e1]
            places = (rows % self._each).to(start.device)
            made.append(torch.where(keep, end[e0:e1, None], of_examples[:, places]))
        return tuple(made)

    def expectations(self, targets: Tensor) -> Tensor:
        """Takes the mean over the background.

        Args:
            targets: Of the rows of each game, (games, per_example).

        Returns:
            The worth of each coalition, (games, coalitions), in float32 at least.
        """
        wide = targets.to(accumulator_dtype(targets.dtype))
        worths = wide[:, : self._mixed].unflatten(1, (-1, self._each)).mean(2)
        place = self._grand
        if place is None:
            return worths
        return torch.cat([worths[:, :place], wide[:, self._mixed :], worths[:, place:]], 1)

    @cached_property
    def _grand(self) -> int | None:
        return grand_coalition(self.coalitions)

    @cached_property
    def _partial(self) -> Coalitions:
        if self._grand is None:
            return self.coalitions
        return Without(self.coalitions, self._grand)

    @property
    def _each(self) -> int:
        return self.starts[0].shape[1]

    @property
    def _mixed(self) -> int:
        return self._partial.count * self._each
