"""Ranks in which equal numbers share their mean."""

from __future__ import annotations

import torch
from torch import Tensor


def average_ranks(values: Tensor) -> Tensor:
    """The rank of each number among those of its row, from 1, float64 of shape (rows, numbers).

    Args:
        values: Of shape (rows, numbers).
    """
    found = []
    for row in values:
        _, place, counts = row.unique(return_inverse=True, return_counts=True)
        found.append((counts.cumsum(0).double() - (counts.double() - 1) / 2)[place])
    return torch.stack(found)
