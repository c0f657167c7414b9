"""Points on the lines from a background's rows to an example, spread evenly over both."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import keys

_ROWS = 30
_STRATA = 31
_PLACES = 32


def stratified_lines(
    seed: int, replicate: int, points: int, background: int
) -> tuple[Tensor, Tensor]:
    """Draws points of one replicate: for each the background row and the fraction of the way.

    The way is cut into as many strata as there are points, and each has one point at random
    (McKay, Beckman, Conover (1979), https://doi.org/10.2307/1268522: Latin hypercube sampling).
    Every row of the background has its turn before one has its next, also from one replicate to
    the next; and turn by turn its points lie further on the way. A point by itself is uniformly
    distributed, whatever the numbers.

    Args:
        seed: The request's seed.
        replicate: The replicate's number.
        points: The number of its points.
        background: The number of rows of the background.

    Returns:
        The rows, int64, and the fractions, float64, each of shape (points,).
    """
    first = replicate * points
    cycles = torch.arange(first // background, -(-(first + points) // background))
    places = cycles[:, None] * background + torch.arange(background)
    rows = keys(seed, _ROWS, places).argsort(1).flatten()
    choices = rows[first % background :][:points]
    numbers = torch.arange(first, first + points)
    # Strata are exchanged within one turn alone.
    turns = torch.arange(points) // background
    strata = (turns + _fractions(seed, _STRATA, numbers)).argsort()
    return choices, (strata + _fractions(seed, _PLACES, numbers)) / points


def _fractions(seed: int, stream: int, numbers: Tensor) -> Tensor:
    """Numbers from [0, 1), float64."""
    return (keys(seed, stream, numbers) >> 10).double() * 2.0**-53
