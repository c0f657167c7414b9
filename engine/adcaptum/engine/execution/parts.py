"""Parts of readings: a batch's results for its rows of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A batch's results for one slice: as `Reading`, before the reduction."""

    values: Tensor
    gradients: tuple[Tensor, ...] = ()
    activations: tuple[Tensor, ...] = ()
    reference_values: Tensor | None = None
    uncovered_ops: tuple[str, ...] = ()

    def cut(self, start: int, stop: int) -> Part:
        """Returns the results of some of its rows, as views."""
        compared = self.reference_values
        return Part(
            self.values[start:stop],
            tuple(t[start:stop] for t in self.gradients),
            tuple(t[start:stop] for t in self.activations),
            None if compared is None else compared[start:stop],
            self.uncovered_ops,
        )

    def copy(self) -> Part:
        """Returns a copy in memory of its own, aligned as all new memory is."""
        compared = self.reference_values
        return Part(
            self.values.clone(),
            tuple(t.clone() for t in self.gradients),
            tuple(t.clone() for t in self.activations),
            None if compared is None else compared.clone(),
            self.uncovered_ops,
        )


def joined(parts: Sequence[Part]) -> Part:
    """Joins parts that follow each other."""
    if len(parts) == 1:
        return parts[0]
    compared = [p.reference_values for p in parts if p.reference_values is not None]
    return Part(
        torch.cat([p.values for p in parts]),
        tuple(map(torch.cat, zip(*(p.gradients for p in parts), strict=True))),
        tuple(map(torch.cat, zip(*(p.activations for p in parts), strict=True))),
        torch.cat(compared) if compared else None,
        tuple(sorted({name for p in parts for name in p.uncovered_ops})),
    )


class Arrival(NamedTuple):
    """The results of rows start..stop."""

    start: int
    stop: int
    part: Part


class InOrder:
    """Orders the results of an evaluation, forward by forward from its first row to its last.

    Sums of floating-point numbers depend on their order, on the number of terms added at once, and
    on their place in memory. So that a fold does not depend on the cuts between batches nor on
    their order, it gets the rows of one forward at a time, in order, in memory of their own.
    """

    __slots__ = ("_forward_rows", "_next", "_rows", "_waiting")

    def __init__(self, rows: int, forward_rows: int) -> None:
        self._rows = rows
        self._forward_rows = forward_rows
        self._next = 0
        self._waiting: dict[int, Arrival] = {}

    def add(self, arrival: Arrival) -> list[Arrival]:
        """Takes the results of some rows; returns those that are next in order."""
        self._waiting[arrival.start] = arrival
        ready = []
        while (forward := self._forward()) is not None:
            ready.append(forward)
        return ready

    def _forward(self) -> Arrival | None:
        """Returns the next forward, once all of its rows are there."""
        start, stop = self._next, min(self._next + self._forward_rows, self._rows)
        found: list[Arrival] = []
        at = start
        while at < stop:
            if at not in self._waiting:
                return None
            found.append(self._waiting[at])
            at = found[-1].stop
        if not found:
            return None
        for arrival in found:
            del self._waiting[arrival.start]
        whole = joined([arrival.part for arrival in found])
        if at > stop:
            self._waiting[stop] = Arrival(stop, at, whole.cut(stop - start, at - start))
        self._next = stop
        return Arrival(start, stop, whole.cut(0, stop - start).copy())
