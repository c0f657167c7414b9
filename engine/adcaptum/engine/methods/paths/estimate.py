"""An estimate of an integral along a path, with the outputs' evidence of its error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.attribution import Attribution

Tensors = tuple[Tensor, ...]

# The units in the last place below which differences of outputs count as rounding.
_ROUNDING = 4


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """An estimate of one example's integral along a path.

    Attributes:
        attribution: The estimate.
        misses: The distances of outputs between points from an interpolation of the points beside
            them, rounding excepted, (intervals,).
        swing: The sum of the magnitudes of the output's changes from point to point, ().
        contributions: Values that would sum to the output's change if the integral were exact, each
            (1, *features); None: there are none.
        change: The output at the path's end less that at its start, ().
        rounding: The largest difference of outputs by rounding alone, ().
        partial: Whether contributions may lack a part of the change however fine the points are,
            because a part of it passes them by.
    """

    attribution: Attribution
    misses: Tensor
    swing: Tensor
    contributions: Tensors | None
    change: Tensor
    rounding: Tensor
    partial: bool = False

    @property
    def missing(self) -> Tensor:
        """The completeness error of the contributions, rounding excepted, ()."""
        assert self.contributions is not None, "nothing is missing from no sum"
        total = torch.stack([t.sum() for t in self.contributions]).sum()
        missing = (total - self.change.to(total)).abs()
        return (missing - self.rounding.to(missing)).clamp_min(0)

    @property
    def typical_miss(self) -> Tensor:
        """The root of the sum of squares of the misses, ()."""
        return self.misses.square().sum().sqrt()

    @classmethod
    def of(
        cls,
        attribution: Attribution,
        outputs: Tensor,
        contributions: Tensors | None,
        misses: Tensor | None = None,
        *,
        partial: bool = False,
    ) -> Estimate:
        """Makes an estimate from the outputs on the path.

        Args:
            attribution: The estimate.
            outputs: The target at the rule's points, in the path's order, (2**k + 1,), k >= 1; on
                several paths, over which the estimate is an average, (2**k + 1, paths).
            contributions: Values that sum to the output's change; None: none do.
            misses: The differences between each interval's part of the integral and the output's
                change there; None: the deviations from an interpolation by every other point.
            partial: Whether contributions may lack a part of the change.
        """
        wide = outputs.to(accumulator_dtype(outputs.dtype)).reshape(len(outputs), -1)
        mean = wide.mean(1)
        least = _ROUNDING * torch.finfo(outputs.dtype).eps * wide.abs().amax()
        misses = _deviations(mean) if misses is None else misses
        return cls(
            attribution,
            (misses.abs() - least).clamp_min(0),
            wide.diff(dim=0).abs().sum(0).mean(),
            contributions,
            mean[-1] - mean[0],
            least,
            partial,
        )


def _deviations(outputs: Tensor) -> Tensor:
    """The distance of every second output from a cubic polynomial through the others beside it.

    Of two it is a square one, of one a line.

    Kinks, jumps and waves of the output show in it wherever the points lie, also where the
    gradients there are all alike.
    """
    known, middle = outputs[::2], outputs[1::2]
    if len(middle) == 1:
        return middle - known.mean()
    if len(middle) == 2:
        a, b, c = known
        return middle - torch.stack([3 * a + 6 * b - c, 3 * c + 6 * b - a]) / 8
    inner = (9 * (known[1:-2] + known[2:-1]) - known[:-3] - known[3:]) / 16
    ends = [
        (5 * side[0] + 15 * side[1] - 5 * side[2] + side[3]) / 16
        for side in (known[:4], known[-4:].flip(0))
    ]
    return middle - torch.cat([ends[0][None], inner, ends[1][None]])
