"""Shapley values and interactions of games whose coalitions' worths are all known."""

from __future__ import annotations

from itertools import combinations
from math import comb

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.vocabulary.flow import Flow, computed
from adcaptum.engine.vocabulary.pauses import Pauses

# The multiply-adds of each worth for a feature or a pair: a few passes, limited by memory.
_MULTIPLY_ADDS = 40.0


def shapley_values(worths: Tensor) -> Tensor:
    """Returns the Shapley values, without pauses; see `paced_shapley_values`."""
    return computed(paced_shapley_values(worths))


def paced_shapley_values(worths: Tensor) -> Flow[Tensor]:
    """Computes the Shapley values, with pauses.

    Shapley (1953), "A value for n-person games", equation 13.

    Args:
        worths: Of shape (games, 2 ** features), in the order of `Enumerated`.

    Returns:
        Of shape (games, features).
    """
    games, coalitions = worths.shape
    features = coalitions.bit_length() - 1
    pauses = Pauses()
    # A coalition of that size precedes a feature in size! (features - size - 1)! of the features!
    # orders.
    by_size = [1 / (features * comb(features - 1, size)) for size in range(features)]
    weights = _by_size(worths, [*by_size, 0])
    values = []
    for i in range(features):
        yield from pauses.before(_MULTIPLY_ADDS * worths.numel())
        without, joined = worths.view(games, -1, 2, 1 << i).unbind(2)
        weight = weights.view(-1, 2, 1 << i)[:, 0]
        values.append(((joined - without) * weight).sum((1, 2)))
    return torch.stack(values, 1)


def interaction_indices(worths: Tensor) -> Flow[Tensor]:
    """Returns the Shapley interaction indices of every two features.

    Grabisch, Roubens (1999), "An axiomatic approach to the concept of interaction among players in
    cooperative games", for pairs.

    Args:
        worths: Of shape (games, 2 ** features), in the order of `Enumerated`.

    Returns:
        Of shape (games, features, features), symmetric, with zeros on the diagonal.
    """
    games, coalitions = worths.shape
    features = coalitions.bit_length() - 1
    pauses = Pauses()
    found = worths.new_zeros(games, features, features)
    by_size = [1 / ((features - 1) * comb(features - 2, size)) for size in range(features - 1)]
    weights = _by_size(worths, [*by_size, 0, 0])
    for i, j in combinations(range(features), 2):
        yield from pauses.before(_MULTIPLY_ADDS * worths.numel())
        # By the presence of j and of i.
        shape = (-1, 2, 1 << (j - i - 1), 2, 1 << i)
        of = worths.view(games, *shape)
        gains = of[:, :, 1, :, 1] - of[:, :, 1, :, 0] - of[:, :, 0, :, 1] + of[:, :, 0, :, 0]
        found[:, i, j] = (gains * weights.view(shape)[:, 0, :, 0]).sum((1, 2, 3))
    return found + found.transpose(1, 2)


def values_multiply_adds(games: int, features: int, *, pairs: bool = False) -> float:
    """Estimates the multiply-adds of Shapley values; with those of interactions, for `pairs`."""
    terms = features + (features * (features - 1) // 2 if pairs else 0)
    return _MULTIPLY_ADDS * games * terms * 2.0**features


def _by_size(worths: Tensor, weights: list[float]) -> Tensor:
    """Returns the weight of each coalition, by its size, (coalitions,)."""
    coalitions = worths.shape[1]
    enumerated = Enumerated(coalitions.bit_length() - 1)
    sizes = enumerated.take(0, coalitions, worths.device).sum(1)
    return torch.tensor(weights, dtype=worths.dtype, device=worths.device)[sizes]
