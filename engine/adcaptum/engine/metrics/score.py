"""Scores: the results of measures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A measure of each example's attributions.

    Attributes:
        values: The measure, (examples,), float32 at least.
        standard_error: Its standard error, (examples,), for measures that sample; infinite where
            one sample is all there is. None: nothing is drawn.
        curve: The points that it sums up, (examples, points), for measures of a curve.
    """

    values: Tensor
    standard_error: Tensor | None = None
    curve: Tensor | None = None


def mean_score(samples: Tensor, dtype: torch.dtype) -> Score:
    """The mean over samples, (examples, samples), with its standard error."""
    wide = torch.promote_types(dtype, torch.float32)
    count = samples.shape[1]
    if count > 1:
        error = samples.std(1) / count**0.5
    else:
        error = torch.full_like(samples[:, 0], torch.inf)
    return Score(samples.mean(1).to(wide), error.to(wide))
