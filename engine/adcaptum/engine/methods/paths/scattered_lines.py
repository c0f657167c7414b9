"""A growing number of points on the lines from a background's rows to an example, spread evenly.

With a tolerance the number of points is not known beforehand. A replicate's points are
those of an additive recurrence in two dimensions (Roberts (2018), "The unreasonable effectiveness
of quasirandom sequences", after Kronecker and Weyl), shifted at random: any number of them is
spread evenly over the background's rows and the way, and each by itself is uniform (Cranley,
Patterson (1976), https://doi.org/10.1137/0713071).
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import keys

_STREAM = 33
# The positive root of x^3 = x + 1.
_ROOT = 1.324717957244746


def scattered_lines(
    seed: int, replicates: int, first: int, points: int, background: int
) -> tuple[Tensor, Tensor]:
    """Points first..first + points of each replicate, replicate by replicate.

    Args:
        seed: The request's seed.
        replicates: The number of replicates.
        first: The number of each replicate's first point.
        points: The number of points of each replicate.
        background: The number of rows of the background.

    Returns:
        The background's rows, int64, and the fractions of the way, float64, each of shape
        (replicates * points,).
    """
    steps = torch.tensor([1 / _ROOT, _ROOT**-2], dtype=torch.float64)
    shifts = keys(seed, _STREAM, torch.arange(2 * replicates).view(-1, 1, 2))
    numbers = torch.arange(first, first + points, dtype=torch.float64)
    places = ((shifts >> 10).double() * 2.0**-53 + numbers[:, None] * steps).frac()
    rows, way = places.flatten(0, 1).unbind(1)
    # There and back: the ends of the path are then neighbours only of themselves.
    return (rows * background).long(), 1 - (2 * way - 1).abs()
