"""Completeness: attributions that sum to the output's difference to the baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.games.features import Features
from adcaptum.engine.games.game import Game, exact
from adcaptum.engine.metrics.feature_sums import feature_sums
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.endpoints import endpoints
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow


@dataclass(frozen=True, slots=True)
class Completeness:
    """|sum of attributions - (output - output at the baseline)|.

    Sundararajan, Taly, Yan (2017), https://arxiv.org/abs/1703.01365, proposition 1.

    Attributes:
        relative: Whether the error is relative to the magnitude of the output's difference.
    """

    relative: bool = False

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, each of its input's shape."""
        ends, starts = yield from endpoints(explicand)
        shapes = tuple(tuple(t.shape[1:]) for t in ends)
        # All elements are one feature: absent, or present.
        whole = Features(1, shapes, tuple(t[:1].long() * 0 for t in ends))
        outputs = yield from Game(explicand, ends, starts, whole).targets(Enumerated(1))
        worths = exact(outputs)
        difference = worths[:, 1] - worths[:, 0]
        error = (feature_sums(whole, attributions)[:, 0] - difference).abs()
        if self.relative:
            error = error / difference.abs()
        return Score(error.to(accumulator_dtype(outputs.dtype)))
