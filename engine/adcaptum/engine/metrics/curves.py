"""Curves of the output as features are deleted, or inserted, in the order of their attributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.games.features import Features
from adcaptum.engine.games.game import by_game, exact
from adcaptum.engine.metrics.feature_sums import feature_sums
from adcaptum.engine.metrics.ranked_rows import (
    Ranked,
    elements_ranks,
    ranks_of,
    unknown_without_ranks,
)
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.endpoints import endpoints
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask


@dataclass(frozen=True, slots=True)
class Curve:
    """The area under the output as features go to, or come from, the baseline.

    Deletion (also called pixel flipping) and insertion: Petsiuk, Das, Saenko (2018),
    https://arxiv.org/abs/1806.07421; Samek et al. (2017),
    https://arxiv.org/abs/1509.06321. The most attributed features come first. The area is the
    trapezoid sum over the share of features, from 0 to 1.

    Attributes:
        insertion: Whether features are inserted into the baseline instead of deleted.
        steps: The number of steps of as equal sizes as the features allow.
        normalize: Whether the curve is relative: 0 at the baseline's output, 1 at the example's.
    """

    insertion: bool = False
    steps: int = 20
    normalize: bool = False

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, each of its input's shape; the score has the curve."""
        curve, share, dtype = yield from ranked_outputs(
            explicand, attributions, self.steps, insertion=self.insertion, ascending=False
        )
        if self.normalize:
            first, last = curve[:, :1], curve[:, -1:]
            base, full = (first, last) if self.insertion else (last, first)
            curve = (curve - base) / (full - base)
        area = torch.trapezoid(curve, share, dim=1)
        return Score(area.to(dtype), curve=curve.to(dtype))


@dataclass(frozen=True, slots=True)
class Monotonicity:
    """The share of steps at which the output does not fall, as features are inserted.

    Arya et al. (2019), https://arxiv.org/abs/1909.03012, "Monotonicity": the least attributed
    features come first; attributions are monotonic if the share is 1.

    Attributes:
        steps: The number of steps of as equal sizes as the features allow.
    """

    steps: int = 20

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, each of its input's shape; the score has the curve."""
        curve, _, dtype = yield from ranked_outputs(
            explicand, attributions, self.steps, insertion=True, ascending=True
        )
        changes = curve.diff(dim=1)
        rises = torch.where(changes.isnan(), changes, (changes >= 0).double())
        return Score(rises.mean(1).to(dtype), curve=curve.to(dtype))


def ranked_outputs(
    explicand: Explicand,
    attributions: tuple[Tensor, ...],
    steps: int,
    *,
    insertion: bool,
    ascending: bool,
) -> Flow[tuple[Tensor, Tensor, torch.dtype]]:
    """Evaluates the output as features are deleted or inserted by their attributions' ranks.

    Returns:
        The outputs, float64 of shape (examples, points); the share of features that are deleted or
        inserted at each point; the dtype of results.
    """
    ends, starts = yield from endpoints(explicand)
    features = Features.of(explicand, ends)
    sums = feature_sums(features, attributions)
    ranks = ranks_of(sums, ascending=ascending)
    count = features.count
    points = min(steps, count) + 1
    moved = (torch.arange(points, dtype=torch.float64) * count / (points - 1)).round().long()
    none, every = torch.zeros_like(moved), torch.full_like(moved, count)
    low, high = (none, moved) if insertion else (moved, every)
    rows = Ranked(ends, starts, elements_ranks(features, ranks, ends), low, high)
    reading = yield from ask(explicand.evaluation(rows))
    outputs = unknown_without_ranks(exact(by_game(reading.values, explicand.count)), sums)
    return outputs, moved.double() / count, accumulator_dtype(reading.values.dtype)
