"""The mean of a target while an element is shown, from replicates of random masks.

The largest part of the error of the mean of target * shown / share is the number of masks that
happened to show an element, times the mean target. The mean of shown / share is known to be 1, so
that it is a control variate (Owen (2013), "Monte Carlo theory, methods and examples", section 8.9).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.randomly_masked_rows import RandomlyMasked
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.sampling.replicates import Replicates
from adcaptum.engine.vocabulary.attribution import Attribution

REPLICATES = 16
_MOST_ELEMENTS = 1 << 21

Tensors = tuple[Tensor, ...]


class ShownMeans:
    """Sums over the pairs of masks of each replicate.

    Attributes:
        masks: The number of masks so far.
    """

    __slots__ = ("_share", "_shown", "_targets", "_total", "masks")

    def __init__(self, share: float) -> None:
        """Begins empty, for masks that show a share."""
        self.masks = 0
        self._share = share
        self._total: Tensor | float = 0.0
        self._shown: Tensors = ()
        self._targets: Tensors = ()

    def add(self, targets: Tensor, rows: RandomlyMasked) -> None:
        """Adds the targets of antithetic pairs of masks, (games, samples)."""
        shown, weighted = zip(
            *(self._sums(targets, rows, i) for i in range(len(rows.ends))), strict=True
        )
        self._shown = _sum(self._shown, shown)
        self._targets = _sum(self._targets, weighted)
        self._total = self._total + targets.sum(1)
        self.masks += rows.samples

    def answer(self, output: Tensor | None) -> tuple[Attribution, Tensor]:
        """The means, and a bound on the sum of their errors, (games,)."""
        common = self._total / self.masks
        replicates = Replicates()
        sums = []
        count = self.masks // REPLICATES
        for weighted, shown in zip(self._targets, self._shown, strict=True):
            of_games = torch.as_tensor(common).to(weighted).view(-1, *(1,) * (weighted.dim() - 1))
            sums.append(weighted - of_games * (shown - count))
        replicates.add(tuple(sums), count)
        return replicates.answer(output)

    def _sums(self, targets: Tensor, rows: RandomlyMasked, i: int) -> tuple[Tensor, Tensor]:
        """Sums of shown / share, and of that times the target, by replicate."""
        end, masks = rows.ends[i], rows.masks[i]
        dtype = accumulator_dtype(end.dtype if end.is_floating_point() else targets.dtype)
        games, samples = targets.shape
        own = targets.to(device=end.device, dtype=dtype)
        of_sample = (
            torch.arange(rows.first, rows.first + samples, device=end.device) // 2 % REPLICATES
        )
        member = (of_sample == torch.arange(REPLICATES, device=end.device)[:, None]).to(dtype)
        step = max(2, _MOST_ELEMENTS // max(1, end[0].numel()))
        shown = weighted = torch.zeros((), dtype=dtype, device=end.device)
        shape: tuple[int, ...] = ()
        for at in range(0, samples, step):
            some = slice(at, min(at + step, samples))
            made = masks.take(rows.first + at, rows.first + some.stop, end.device)
            flat = made.to(dtype).flatten(1) / self._share
            shape = tuple(made.shape[1:])
            shown = shown + member[:, some] @ flat
            weighted = weighted + (member[:, some] * own[:, None, some]) @ flat
        return shown.view(1, REPLICATES, *shape), weighted.view(games, REPLICATES, *shape)


def _sum(before: Tensors, new: Sequence[Tensor]) -> Tensors:
    return tuple(a + b for a, b in zip(before or map(torch.zeros_like, new), new, strict=True))
