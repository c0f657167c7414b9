"""ROAD: the output as the most attributed pixels are removed and debiased."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.game import by_game, exact
from adcaptum.engine.metrics.imputation import Imputed
from adcaptum.engine.metrics.ranked_rows import ranks_of, unknown_without_ranks
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask


@dataclass(frozen=True, slots=True)
class Road:
    """The mean output as growing shares of an image's pixels are filled in from their neighbours.

    Rong, Leemann, Borisov, Kasneci, Kasneci (2022), https://arxiv.org/abs/2202.00449: remove and
    debias. The output in place of the paper's accuracy, which a single example does not have.

    Attributes:
        shares: The shares of pixels that are removed, between 0 and 1.
        noise: The standard deviation of the noise of filled pixels.
        ascending: Whether the least attributed pixels are removed first (LeRF) instead of the
            most (MoRF).
    """

    shares: tuple[float, ...] = tuple(i / 10 for i in range(1, 10))
    noise: float = 0.01
    ascending: bool = False

    def flow(self, explicand: Explicand, attributions: tuple[Tensor, ...]) -> Flow[Score]:
        """Measures attributions, (examples, channels or 1, height, width)."""
        if len(explicand.inputs) != 1 or explicand.inputs[0].dim() != 4:
            shapes = [tuple(t.shape) for t in explicand.inputs]
            raise InvalidArgument("inputs", shapes, "images (examples, channels, height, width)")
        (images,) = explicand.inputs
        (values,) = attributions
        count, _, height, width = images.shape
        sums = values.detach().double().sum(1).reshape(count, -1)
        ranks = ranks_of(sums, ascending=self.ascending).to(images.device)
        pixels = ranks.view(count, 1, height, width)
        removed = (torch.tensor(self.shares, dtype=torch.float64) * height * width).round().long()
        rows = Imputed(images, pixels, removed, self.noise, explicand.seed)
        reading = yield from ask(explicand.evaluation(rows))
        curve = unknown_without_ranks(exact(by_game(reading.values, count)), sums)
        dtype = accumulator_dtype(reading.values.dtype)
        return Score(curve.mean(1).to(dtype), curve=curve.to(dtype))
