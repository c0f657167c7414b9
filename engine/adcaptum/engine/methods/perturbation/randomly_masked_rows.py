"""Rows seen through random masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.random_masks import Masks
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.rows.sources import Rows

_STREAM = 29


@dataclass(frozen=True, eq=False)
class RandomlyMasked(Rows):
    """Each example seen through random masks; hidden elements are at the baseline.

    All examples are seen through the same masks.

    Attributes:
        ends: The examples, each tensor (examples, *features).
        starts: Their baselines, of the same shapes.
        masks: The masks over each tensor.
        first: The number of the first mask.
        samples: The number of masks.
    """

    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    masks: tuple[Masks, ...]
    first: int
    samples: int

    @property
    def like(self) -> tuple[Tensor, ...]:
        return self.ends

    @property
    def per_example(self) -> int:
        return self.samples

    def block(self, e0: int, e1: int, s0: int, s1: int) -> tuple[Tensor, ...]:
        made = []
        for masks, end, start in zip(self.masks, self.ends, self.starts, strict=True):
            shown = masks.take(self.first + s0, self.first + s1, end.device)
            whole, none = end[e0:e1, None], start[e0:e1, None]
            if shown.dtype == torch.bool:
                # Chosen, not computed: token ids stay integers.
                made.append(torch.where(shown, whole, none))
            else:
                wide = accumulator_dtype(end.dtype)
                made.append(torch.lerp(none.to(wide), whole.to(wide), shown.to(wide)).to(end.dtype))
        return tuple(made)
