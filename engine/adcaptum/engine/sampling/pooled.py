"""Independent rounds of an estimate, pooled."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.sampling.replicates import signs


def parts_bytes(features: int) -> int:
    """Estimates the memory of the parts of one game's errors, those before and those with them."""
    return 2 * 8 * len(signs(1)) * features


class Pooled:
    """The mean of independent rounds, each weighted by its number of samples.

    Attributes:
        rounds: The number of rounds.
        samples: The number of samples of all rounds.
        values: The values, (games, features).
        parts: Independent parts of their errors, (games, parts, features).
    """

    __slots__ = ("_variance", "parts", "rounds", "samples", "values")

    def __init__(self) -> None:
        self.rounds = 0
        self.samples = 0
        self.values = self.parts = self._variance = torch.zeros(0)

    @property
    def errors(self) -> Tensor:
        """The standard errors, (games, features)."""
        return self._variance.sqrt()

    def flips(self, number: int) -> Tensor:
        """Random signs for the parts of the next round's errors, float64 of shape (draws, parts).

        They are divided by the root of draws: the sums over parts are parts again, as many in
        every round, however many samples it has.
        """
        drawn = signs(number, self.rounds).double()
        return drawn / len(drawn) ** 0.5

    def add(self, samples: int, values: Tensor, errors: Tensor, parts: Tensor) -> None:
        """Adds a round: its values, their standard errors, and its parts after the flips."""
        self.rounds += 1
        self.samples += samples
        if self.rounds == 1:
            self.values, self.parts, self._variance = values, parts, errors.square()
            return
        share = samples / self.samples
        self.values = torch.lerp(self.values, values, share)
        self.parts = torch.lerp(self.parts, parts, share)
        self._variance = self._variance * (1 - share) ** 2 + errors.square() * share**2
