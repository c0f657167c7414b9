"""Rows in which a feature's values come from other examples of the same request.

The permutations are addressed by the seed and the feature's number, so that they do not depend on
the batches; none leaves every example its own value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.games.features import Features
from adcaptum.engine.rows.randomness import keys
from adcaptum.engine.rows.sources import Rows

_STREAM = 22


@dataclass(frozen=True, eq=False)
class Permuted(Rows):
    """Each example with one feature after another from its donor; at last the example itself.

    Attributes:
        ends: The examples, each tensor (examples, *features), two of them at least.
        features: The features of the elements.
        seed: The seed.
    """

    ends: tuple[Tensor, ...]
    features: Features
    seed: int

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.features.count + 1

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        device = self.ends[0].device
        samples = torch.arange(s0, s1, device=device)
        givers = donors(self.seed, samples, self.count)[:, e0:e1].T
        own = samples[:, None] != torch.arange(self.features.count, device=device)
        made = []
        for keep, end in zip(self.features.select(own, e0, e1), self.ends, strict=True):
            given = end[givers.to(end.device)]
            made.append(torch.where(keep, end[e0:e1, None], given))
        return tuple(made)


def donors(seed: int, samples: Tensor, count: int) -> Tensor:
    """Draws the example that each example gets its values from, for each sample.

    They are permutations, never the one without a change.

    Args:
        seed: The seed.
        samples: The samples' numbers, int64 of shape (samples,).
        count: The number of examples, at least two.

    Returns:
        int64 of shape (samples, count).
    """
    unchanged = torch.arange(count, device=samples.device)
    permutations = _shuffled(seed, samples, count, 0)
    attempt = 0
    while bool((again := (permutations == unchanged).all(1)).any()):
        attempt += 1
        permutations[again] = _shuffled(seed, samples[again], count, attempt)
    return permutations


def _shuffled(seed: int, samples: Tensor, count: int, attempt: int) -> Tensor:
    numbers = samples[:, None] * count + torch.arange(count, device=samples.device)
    return keys(seed, _STREAM + (attempt << 8), numbers).argsort(1)
