"""Small games with known worths, and the definition of their Shapley values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.vocabulary.attribution import Attribution

Model = Callable[..., Tensor]


def shapley_by_orders(worths: Tensor) -> Tensor:
    """The Shapley values by their definition: the mean gain over all orders of the players.

    Args:
        worths: The worth of each coalition, (2 ** players,); bit i says whether player i is in it.
    """
    players = len(worths).bit_length() - 1
    # Python's own numbers: millions of sums, which cost tensors a hundred times as much.
    worth_of: list[float] = worths.tolist()
    total = [0.0] * players
    count = 0
    for order in permutations(range(players)):
        coalition = 0
        for player in order:
            joined = coalition | 1 << player
            total[player] += worth_of[joined] - worth_of[coalition]
            coalition = joined
        count += 1
    return torch.tensor(total, dtype=torch.float64) / count


def coalitions(players: int) -> Tensor:
    """Every coalition as a row of zeros and ones, float64."""
    return Enumerated(players).take(0, 1 << players, torch.device("cpu")).double()


def smooth(players: int, seed: int) -> Tensor:
    """The worths of a random tanh network of the players."""
    source = torch.Generator().manual_seed(seed)
    inner = torch.randn(players, 16, generator=source, dtype=torch.float64)
    outer = torch.randn(16, generator=source, dtype=torch.float64)
    return torch.tanh(coalitions(players) @ inner + 0.3) @ outer


def multiplicative(players: int, seed: int) -> Tensor:
    """The worths of a product of a factor for each player."""
    source = torch.Generator().manual_seed(seed)
    factors = torch.rand(players, generator=source, dtype=torch.float64) - 0.3
    return (1 + coalitions(players) * factors).prod(1)


def noise(players: int, seed: int) -> Tensor:
    """Worths without any structure."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(1 << players, generator=source, dtype=torch.float64)


def as_model(worths: Tensor) -> Model:
    """The game as a model of zeros and ones: its Shapley values at all ones with baseline zero."""
    weights = 1 << torch.arange(len(worths).bit_length() - 1)

    def model(x: Tensor) -> Tensor:
        return worths[(x > 0.5).long() @ weights]

    return model


def gap(answer: Attribution) -> Tensor:
    """The output less the output at the baseline, (examples,)."""
    assert answer.output is not None
    assert answer.baseline_output is not None
    return answer.output - answer.baseline_output
