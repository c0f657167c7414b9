"""Integrals along the way from the baseline, refined until they are good enough.

The trapezoidal rule is nested: halving all intervals needs the new midpoints only, and the ends,
which tell the completeness error, count as points. Networks of ReLUs have gradients that jump along
the way, where no rule converges faster than with the number of points, so that rules of high order
gain nothing, and where gradients are smooth and flat at both ends the trapezoidal rule converges
as fast as any (2026-11-23, 1,000 points as the truth, the models cells, digits and reviews: errors
of Gauss-Legendre, Clenshaw-Curtis and this rule within a factor of 1.5 of each other at 17 points,
but for reviews, 0.5 %, 0.7 % and 0.8 %; weights that are corrected to complete each interval were
worse).

The error of a refinement is taken to be the last change, or a quarter of the one before, so that
luck alone ends nothing. Of 500 explanations of cells and 400 of digits, stopped at 5, 2 and 1 %,
99 % or more were as good as they said; of a random network of ReLUs on 8 numbers, whose gradients
jump most, 96 to 98 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adcaptum.engine.attribution import (
    Attribution,
    ErrorKind,
    StopReason,
    completeness_error,
)
from adcaptum.engine.explicand import Explicand
from adcaptum.engine.flow import Flow, ask, both, endpoints, report
from adcaptum.engine.reduce import WeightedSum
from adcaptum.engine.rows import Path

MOST_INTERVALS = 1024
USUAL_POINTS = 33
_LUCK = 4
_Average = tuple[Tensor, tuple[Tensor, ...]]  # targets of the points, weighted sum of gradients


def refined(explicand: Explicand, *, multiply_by_inputs: bool) -> Flow[Attribution]:
    """Integrates the gradient of one example along its way; reports after each refinement.

    Args:
        explicand: One example with a tolerance.
        multiply_by_inputs: Whether to multiply the average gradient by the difference of the ends.
    """
    assert explicand.count == 1, "each example stops for itself"
    assert explicand.tolerance is not None, "it stops when a tolerance is met"
    ends, starts = yield from endpoints(explicand)
    differences = tuple(x - x0 for x, x0 in zip(ends, starts, strict=True))

    def average(
        alphas: list[float], weights: list[float]
    ) -> Flow[tuple[Tensor, tuple[Tensor, ...]]]:
        path = Path(ends, starts, torch.tensor(alphas, dtype=torch.float64))
        reduce = WeightedSum(torch.tensor(weights, dtype=torch.float64))
        reading = yield from ask(explicand.evaluation(path, gradient=True, reduce=reduce))
        return reading.values, reading.gradients

    (values, coarse), (_, middles) = yield from both(
        average([0, 0.5, 1], [0.25, 0.5, 0.25]), average([0.25, 0.75], [0.5, 0.5])
    )
    baseline_output, _, output = values.unbind()
    intervals = 4
    before = torch.zeros_like(output)[None]
    while True:
        fine = tuple((c + m) / 2 for c, m in zip(coarse, middles, strict=True))
        products = tuple(f * d for f, d in zip(fine, differences, strict=True))
        change = _magnitude(
            [(f - c) * d for f, c, d in zip(fine, coarse, differences, strict=True)]
        )
        wrong = torch.maximum(change, before / _LUCK)
        relative = torch.where(wrong > 0, wrong / _magnitude(products), wrong)
        met = bool(relative <= explicand.tolerance)
        answer = Attribution(
            products if multiply_by_inputs else fine,
            completeness_error(products, output[None], baseline_output[None]),
            ErrorKind.COMPLETENESS,
            output[None],
            baseline_output[None],
            stop_reason=StopReason.CONVERGED if met else StopReason.BUDGET,
            relative_error=relative,
        )
        if met or intervals >= MOST_INTERVALS:
            return answer
        yield from report(answer)
        alphas = ((torch.arange(intervals) + 0.5) / intervals).tolist()
        _, middles = yield from average(alphas, [1 / intervals] * intervals)
        coarse, before = fine, change
        intervals *= 2


def _magnitude(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of the magnitudes of one example's numbers, (1,)."""
    return torch.stack([t.abs().flatten(1).sum(1) for t in tensors]).sum(0)
