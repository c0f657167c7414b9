"""Sampling until an estimate is good enough."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isnan

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, with_relative_error
from adcaptum.engine.vocabulary.flow import Flow, report

MOST_ROWS = 1 << 17
"""With how many rows of an example to stop, whatever the error."""
_LEAST_GROWTH = 1.25
_MOST_GROWTH = 4.0

Draw = Callable[[int], Flow[tuple[Attribution, Tensor]]]
"""Takes so many more samples; what they say with those of before, and how much of it may be wrong:
the sum of the errors' magnitudes, (examples,)."""


def sampled(
    draw: Draw, tolerance: float, *, first: int, most: int, order: float = 0.5
) -> Flow[Attribution]:
    """Draws until the relative error is below the tolerance; reports after each round.

    Looking often makes it likelier to stop by luck. So each round is as large as the error of the
    one before says that it has to be, within bounds.

    Args:
        draw: What draws, for one example.
        tolerance: How large the sum of errors may be, relative to that of the values' magnitudes.
        first: How many samples to begin with.
        most: With how many samples to stop anyway.
        order: The error falls with so high a power of the samples' number, at least.
    """
    count, size = 0, min(first, most)
    while True:
        answer, wrong = yield from draw(size)
        count += size
        answer = with_relative_error(answer, wrong, tolerance)
        assert answer.relative_error is not None, "it has just been found"
        ratio = float(answer.relative_error.max()) / tolerance
        # From what is no number more samples do not lead back.
        if answer.stop_reason is StopReason.CONVERGED or count >= most or isnan(ratio):
            return answer
        yield from report(answer)
        growth = max(min(ratio, _MOST_GROWTH) ** (1 / order), _LEAST_GROWTH)
        growth = min(growth, _MOST_GROWTH)
        size = min(ceil(count * (growth - 1)), most - count)


def usual_samples(tolerance: float, *, least: int, at_five_percent: int = 512) -> int:
    """As many samples as an example usually takes."""
    return min(MOST_ROWS, max(least, ceil(at_five_percent * (0.05 / tolerance) ** 2)))
