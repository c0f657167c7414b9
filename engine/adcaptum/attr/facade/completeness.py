"""Completeness of path integrals: attributions that sum to the change of the output."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from adcaptum.attr.facade.answer import sum_of_rows

# Shares of the output's difference to the baseline, and of the attributions' magnitudes.
_LARGE = 0.05
_LARGE_OF_SIZE = 0.01


def warn_of_incompleteness(
    name: str, values: tuple[Tensor, ...], delta: Tensor, *, n_steps: int, layer: bool = False
) -> None:
    """Warns, once for all examples, if attributions miss much of the output's difference.

    Args:
        name: The method's name.
        values: The attributions, (examples, *features) each.
        delta: Their sums less the outputs' differences to the baselines, (examples,).
        n_steps: The number of steps that were taken.
        layer: Whether they are a layer's, which other paths to the output may bypass.
    """
    size = sum(v.detach().double().abs().reshape(len(v), -1).sum(1) for v in values)
    error = delta.detach().double().abs()
    difference = (sum_of_rows(values).detach() - delta.detach()).double().abs()
    large = (error > _LARGE * difference) & (error > _LARGE_OF_SIZE * size)
    # Attributions that are all zero miss all of a difference.
    if not bool(large.any()):
        return
    share = torch.where(difference > 0, error / difference, torch.inf)[large].max()
    worst = f"{float(share):.0%}" if torch.isfinite(share) else "all"
    around = ", or other ways than this layer lead from the inputs to the output" if layer else ""
    warnings.warn(
        f"{name}: the attributions miss up to {worst} of the output's difference to the baseline, "
        f"in {int(large.sum())} of {len(large)} examples. n_steps={n_steps} is too few for this "
        "model: raise n_steps, choose another method, or state a tolerance, Explicand.of(..., "
        "tolerance=0.05) of adcaptum.engine, which takes as many steps as it needs. If the "
        f"delta does not shrink, part of the output changes without a gradient{around}",
        stacklevel=3,
    )
