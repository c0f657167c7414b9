"""Integrals along a path, refined until they meet a tolerance.

The error of a refinement is the largest of four figures, so that luck with one of them ends
nothing: 1.4 times the last change; 0.35 times the one before; twice the completeness error; and
twice the root of the sum of squares of the output's misses between the points (for averages over
many paths 1.2 times, 0.3 times, once and once). The latter two are of sums over all features, in
which errors of opposite sign cancel: they are multiplied by how much larger the sum of the last
change's magnitudes is than that of its numbers, 3 at most. Where the completeness error shows
nothing of the values' changes, because they cancel in the output, there are 32 intervals at least,
and the factors of the first two figures are 4 and 2 (docs/decisions/0095). What no
figure shows is a spike between two points that leaves gradients and outputs there as they are.
docs/decisions/0010-errors-of-path-integrals.md has the measurements.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from adcaptum.engine.methods.paths.estimate import Estimate
from adcaptum.engine.rows.moments import magnitude
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, with_relative_error
from adcaptum.engine.vocabulary.flow import Flow, report

MOST_INTERVALS = 1024
USUAL_POINTS = 33
FIRST_INTERVALS = 4
_MOST_CANCELLED = 3.0
# A completeness error that a refinement leaves larger than this share of itself has settled.
_SETTLED = 0.7


class Caution(NamedTuple):
    """Safety factors on the figures that an error is estimated from.

    Attributes:
        last: Than the last change of the values.
        before: Than the change before.
        outputs: Than what the outputs on the path show.
    """

    last: float
    before: float
    outputs: float


ONE_PATH = Caution(1.4, 0.35, 2)
MANY_PATHS = Caution(1.2, 0.3, 1)
"""For averages over many paths, where luck with all of them is rare."""
_SILENT = Caution(4, 2, 2)
"""Where errors cancel in the outputs, so that the values alone tell of them."""
_FEWEST_OF_SILENT = 32
# Shares of the typical sum of the values' changes, and of the tolerated error.
_LEAST_SHOWN = 0.02
_LEAST_CHANGE = 1e-3


class Levels(Protocol):
    """Estimates of one integral, each with twice the intervals of the one before."""

    @property
    def first(self) -> int:
        """The number of intervals of the first estimate."""
        ...

    @property
    def most(self) -> int:
        """The number of intervals after which to stop, whatever the error."""
        ...

    def begin(self) -> Flow[tuple[Estimate, Estimate]]:
        """Makes the first estimate, and that with twice as many intervals."""
        ...

    def halve(self, intervals: int) -> Flow[Estimate]:
        """Halves the intervals of the estimate before, given their number."""
        ...


def refined(levels: Levels, tolerance: float, caution: Caution = ONE_PATH) -> Flow[Attribution]:
    """Halves intervals until the error is below the tolerance; reports after each refinement.

    Args:
        levels: Estimates for one example.
        tolerance: The bound on the sum of errors, relative to that of the values' magnitudes.
        caution: The factors of the figures that tell of an error.
    """
    coarse, fine = yield from levels.begin()
    intervals = 2 * levels.first
    before: Tensor | None = None
    while True:
        change = _difference(fine.attribution.values, coarse.attribution.values)
        silent = _is_silent(coarse, fine, tolerance)
        of_values = _SILENT if silent else caution
        wrong = of_values.last * magnitude(change)
        if before is not None:
            wrong = torch.maximum(wrong, of_values.before * before.to(wrong))
        answer = with_relative_error(
            fine.attribution,
            torch.maximum(
                wrong, _shown_by_outputs(coarse, fine, caution.outputs, tolerance).to(wrong)
            ),
            tolerance,
        )
        assert answer.relative_error is not None, "it has just been found"
        # Finer steps do not lead back from NaN.
        hopeless = bool(answer.relative_error.isnan().any())
        if silent and intervals < _FEWEST_OF_SILENT:
            answer = replace(answer, stop_reason=StopReason.EXHAUSTED)
        if answer.stop_reason is StopReason.CONVERGED or intervals >= levels.most or hopeless:
            return answer
        yield from report(answer)
        coarse, before = fine, magnitude(change)
        fine = yield from levels.halve(intervals)
        intervals *= 2


def _is_silent(coarse: Estimate, fine: Estimate, tolerance: float) -> bool:
    """Returns whether the values' changes cancel in the output, whose change then hides them."""
    if fine.contributions is None or coarse.contributions is None:
        return False
    change = _difference(fine.contributions, coarse.contributions)
    # A sum of independent numbers is as large as the root of the sum of their squares.
    typical = torch.stack([t.square().sum() for t in change]).sum().sqrt()
    rounding = _LEAST_CHANGE * tolerance * magnitude(fine.contributions)
    return bool(((fine.missing < _LEAST_SHOWN * typical) & (typical > rounding)).all())


def _shown_by_outputs(coarse: Estimate, fine: Estimate, caution: float, tolerance: float) -> Tensor:
    """The sum of errors that the outputs on the path show, (1,)."""
    size = magnitude(fine.attribution.values)
    typical = fine.typical_miss
    if fine.contributions is None or coarse.contributions is None:
        return _share_of_swing(fine, caution, size)
    missing = fine.missing
    if fine.partial and bool(missing > _SETTLED * coarse.missing):
        # Where the outputs show no error, the rest of the change passes the contributions by.
        share = _share_of_swing(fine, caution, torch.ones_like(size))
        if bool((share <= tolerance).all()):
            return share * size
    change = _difference(fine.contributions, coarse.contributions)
    of_sum = torch.stack([t.sum() for t in change]).sum().abs()
    of_each = magnitude(change)
    cancelled = torch.where(of_each < _MOST_CANCELLED * of_sum, of_each / of_sum, _MOST_CANCELLED)
    wrong = caution * cancelled * torch.maximum(missing, typical.to(missing))
    return _share(wrong, magnitude(fine.contributions), size)


def _share_of_swing(estimate: Estimate, caution: float, size: Tensor) -> Tensor:
    """Errors as large, relative to the values, as the misses are relative to the swing, (1,)."""
    return _share(caution * estimate.typical_miss, estimate.swing, size)


def _share(wrong: Tensor, of: Tensor, size: Tensor) -> Tensor:
    """The same share of another size; infinite where it is a share of nothing."""
    share = torch.where(wrong == 0, 0, wrong.to(size) / of.to(size))
    return torch.where(share.isinf(), share, share * size)


def _difference(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(a - b for a, b in zip(left, right, strict=True))
