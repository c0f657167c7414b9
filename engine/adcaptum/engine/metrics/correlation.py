"""Correlations between attributions and the output's changes without features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import LeaveOneOut, Listed
from adcaptum.engine.games.game import exact, game
from adcaptum.engine.metrics.feature_sums import feature_sums
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.rows.randomness import generator
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow

# The purpose of these draws among those of a request.
_STREAM = 41


@dataclass(frozen=True, slots=True)
class FaithfulnessCorrelation:
    """The correlation of sums of attributions with the output's decreases, over random subsets.

    Bhatt, Weller, Moura (2020), https://arxiv.org/abs/2005.00631, "faithfulness": of the sum of the
    attributions of a subset, and of the output less the output with the subset at the baseline.
    Its standard error is the jackknife's over subsets.

    Attributes:
        subset_size: The number of features of a subset; None: a fifth, at least one.
        samples: The number of subsets, the same for all examples.
    """

    subset_size: int | None = None
    samples: int = 100

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, each of its input's shape."""
        played = yield from game(explicand)
        count = played.features.count
        size = max(1, count // 5) if self.subset_size is None else self.subset_size
        if not 1 <= size <= count:
            raise InvalidArgument("subset_size", size, f"from 1 to the {count} features")
        drawn = torch.rand(
            self.samples, count, generator=generator(explicand.seed, _STREAM, 0), device="cpu"
        )
        removed = torch.zeros(self.samples, count, dtype=torch.bool)
        removed.scatter_(1, drawn.argsort(1)[:, :size], value=True)
        kept = torch.cat([~removed, torch.ones(1, count, dtype=torch.bool)])
        outputs = yield from played.targets(Listed(kept))
        worths = exact(outputs)
        sums = feature_sums(played.features, attributions) @ removed.double().T
        values, errors = correlation(sums, worths[:, -1:] - worths[:, :-1])
        dtype = accumulator_dtype(outputs.dtype)
        return Score(values.to(dtype), errors.to(dtype))


@dataclass(frozen=True, slots=True)
class FaithfulnessEstimate:
    """The correlation of attributions with the output's decreases without each feature alone.

    Alvarez-Melis, Jaakkola (2018), https://arxiv.org/abs/1806.07538, "faithfulness".
    """

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, each of its input's shape."""
        played = yield from game(explicand)
        outputs = yield from played.targets(LeaveOneOut(played.features.count))
        worths = exact(outputs)
        sums = feature_sums(played.features, attributions)
        values, _ = correlation(sums, worths[:, -1:] - worths[:, :-1])
        return Score(values.to(accumulator_dtype(outputs.dtype)))


def correlation(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson's correlation of each example's pairs, and its standard error by the jackknife.

    Args:
        x: float64 of shape (examples, pairs).
        y: Of the same shape.

    Returns:
        The correlation, NaN where either does not vary; the error, infinite of fewer than 3 pairs.
    """
    pairs = x.shape[1]
    dx, dy = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    xx, yy, xy = dx.square(), dy.square(), dx * dy
    whole = _ratio(xy.sum(1), xx.sum(1), yy.sum(1))
    if pairs < 3:
        return whole, torch.full_like(whole, torch.inf)
    # Sums about the mean of all pairs but one: its own term counts pairs / (pairs - 1) times.
    factor = pairs / (pairs - 1)
    without = _ratio(
        xy.sum(1, keepdim=True) - factor * xy,
        xx.sum(1, keepdim=True) - factor * xx,
        yy.sum(1, keepdim=True) - factor * yy,
    )
    spread = (without - without.mean(1, keepdim=True)).square().sum(1)
    return whole, (spread * (pairs - 1) / pairs).sqrt()


def _ratio(xy: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
    product = xx * yy
    return torch.where(product > 0, xy / product.clamp(min=0).sqrt(), torch.nan).clamp(-1, 1)
