"""Rows in which each example has only the features of some ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.games.features import Features
from adcaptum.engine.rows.sources import Rows


@dataclass(frozen=True, eq=False)
class Ranked(Rows):
    """Each example with the features of a range of ranks; the others are at the baseline.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        ranks: The rank of each element's feature, from 0, int64 of the same shapes.
        low: The first rank that is present in each sample, int64 of shape (samples,).
        high: The first rank after the last.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    ranks: tuple[Tensor, ...]
    low: Tensor
    high: Tensor

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return len(self.low)

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        made = []
        for end, start, ranks in zip(self.ends, self.starts, self.ranks, strict=True):
            shape = (1, s1 - s0, *(1,) * (end.dim() - 1))
            low = self.low[s0:s1].to(end.device, non_blocking=True).view(shape)
            high = self.high[s0:s1].to(end.device, non_blocking=True).view(shape)
            own = ranks[e0:e1, None]
            present = (own >= low) & (own < high)
            made.append(torch.where(present, end[e0:e1, None], start[e0:e1, None]))
        return tuple(made)


def ranks_of(attributions: Tensor, *, ascending: bool = False) -> Tensor:
    """The rank of each feature, the largest attribution first, (examples, features).

    Equal ones, and NaN, keep the features' order.

    Args:
        attributions: Of shape (examples, features).
        ascending: Whether the smallest is first.
    """
    order = attributions.nan_to_num(-torch.inf).argsort(
        dim=1, descending=not ascending, stable=True
    )
    return order.argsort(1)


def unknown_without_ranks(outputs: Tensor, attributions: Tensor) -> Tensor:
    """Sets the outputs of examples with NaN among their attributions, which have no order, to NaN.

    Args:
        outputs: float64 of shape (examples, points), on the CPU.
        attributions: Of shape (examples, features).
    """
    unknown = attributions.isnan().any(1).cpu()
    return outputs.masked_fill(unknown[:, None], torch.nan)


def elements_ranks(
    features: Features, ranks: Tensor, like: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Gives each element the rank of its feature, int64 of the tensors' shapes."""
    # Ranks below 2**53 are exact in float64.
    spread = features.spread(ranks.double(), tuple(t.double() for t in like), torch.float64)
    return tuple(t.long() for t in spread)
