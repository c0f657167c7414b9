"""Prior curves: those that the keys of a kind start from, by the size of their rows."""

from collections.abc import Hashable
from typing import Final

from adcaptum.engine.scheduling.batch_curve import BatchCurve
from adcaptum.engine.scheduling.cost_line import UNKNOWN, CostLine

Group = tuple[Hashable, int]
"""A kind of rows, and the size of each."""

ALIKE: Final = 2
"""Rows whose sizes differ by less than this factor are taken to cost alike."""


class PriorCurves:
    """The curve measured last of each kind and of each size of rows, in powers of two.

    Rows of one kind may be of any length or height: a large one may cost a thousand times as much
    as a small one, so that what is known of one says little of the other.
    """

    def __init__(self) -> None:
        self._curves: dict[Hashable, dict[int, tuple[int, BatchCurve]]] = {}

    def put(self, group: Group, curve: BatchCurve) -> None:
        """Keeps a curve in place of the one of its kind and size."""
        kind, size = group
        self._curves.setdefault(kind, {})[size.bit_length()] = size, curve

    def curve(self, group: Group) -> BatchCurve | None:
        """Returns the curve of the nearest size of a kind; None: there is none of the kind."""
        nearest = self._nearest(group)
        return None if nearest is None else nearest[1]

    def line(self, group: Group) -> CostLine:
        """Estimates the time of a group's batches.

        Where only another size was measured, a row's time is taken to be proportional to its size.
        """
        nearest = self._nearest(group)
        if nearest is None:
            return UNKNOWN
        size, curve = nearest
        ratio = group[1] / size
        if 1 / ALIKE < ratio < ALIKE:
            return curve.line
        return curve.line._replace(row=curve.line.row * ratio)

    def _nearest(self, group: Group) -> tuple[int, BatchCurve] | None:
        kind, size = group
        # Copied, because threads may add sizes meanwhile.
        known = self._curves.get(kind, {}).copy()
        if not known:
            return None
        return known[min(known, key=lambda power: abs(power - size.bit_length()))]
