"""Sampling until an estimate meets a tolerance."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isnan

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, with_relative_error
from adcaptum.engine.vocabulary.flow import Flow, report

MOST_ROWS = 1 << 17
"""The most rows of an example, whatever the error."""
_LEAST_GROWTH = 1.25
_MOST_GROWTH = 4.0

Draw = Callable[[int], Flow[tuple[Attribution, Tensor]]]
"""Draws a number of further samples; returns the estimate of all samples so far, and the bound on
the sum of its errors' magnitudes, (examples,)."""


def sampled(
    draw: Draw, tolerance: float, *, first: int, most: int, order: float = 0.5
) -> Flow[Attribution]:
    """Draws until the relative error is below the tolerance; reports after each round.

    Each check of the error may pass by luck. So each round is as large as the error of the one
    before requires, within bounds.

    Args:
        draw: Draws samples for one example.
        tolerance: The bound on the sum of errors, relative to that of the values' magnitudes.
        first: The number of samples of the first round.
        most: The most samples.
        order: The power of the number of samples with which the error falls, at least.
    """
    count, size = 0, min(first, most)
    while True:
        answer, wrong = yield from draw(size)
        count += size
        answer = with_relative_error(answer, wrong, tolerance)
        assert answer.relative_error is not None, "it has just been found"
        ratio = float(answer.relative_error.max()) / tolerance
        # More samples do not lead back from NaN.
        if answer.stop_reason is StopReason.CONVERGED or count >= most or isnan(ratio):
            return answer
        yield from report(answer)
        growth = max(min(ratio, _MOST_GROWTH) ** (1 / order), _LEAST_GROWTH)
        growth = min(growth, _MOST_GROWTH)
        size = min(ceil(count * (growth - 1)), most - count)


def report_part(found: tuple[Attribution, Tensor], tolerance: float) -> Flow[None]:
    """Reports the estimate of a part of a round, which is the answer if the rows end there.

    Args:
        found: The estimate, and the bound on the sum of its errors' magnitudes.
        tolerance: The bound on the relative error.
    """
    yield from report(with_relative_error(*found, tolerance))


def usual_samples(tolerance: float, *, least: int, at_five_percent: int = 512) -> int:
    """The usual number of samples of an example."""
    return min(MOST_ROWS, max(least, ceil(at_five_percent * (0.05 / tolerance) ** 2)))
