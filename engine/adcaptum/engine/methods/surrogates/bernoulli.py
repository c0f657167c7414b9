"""Coalitions in which each feature is independently present with probability one half."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import keys

_STREAM = 23
_BITS = 63


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """Random coalitions, each addressed by the seed and its number.

    Attributes:
        features: The number of features.
        count: The number of coalitions.
        seed: The seed.
        first: The number of the first.
    """

    features: int
    count: int
    seed: int
    first: int = 0

    def take(self, start: int, stop: int, device: torch.device) -> Tensor:
        words = -(-self.features // _BITS)
        numbers = torch.arange(self.first + start, self.first + stop, device=device)
        places = numbers[:, None] * words + torch.arange(words, device=device)
        drawn = keys(self.seed, _STREAM, places)
        bits = drawn[:, :, None] >> torch.arange(_BITS, device=device) & 1
        return bits.flatten(1)[:, : self.features].bool()
