"""Measures of how few features attributions need, from the attributions alone."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.metrics.score import Score


def gini_index(attributions: tuple[Tensor, ...]) -> Score:
    """The Gini index of magnitudes: 0 if all are equal, near 1 if one has everything.

    Chalasani, Chen, Chowdhury, Jha, Wu (2020), https://arxiv.org/abs/1810.06583.
    """
    sizes, dtype = _magnitudes(attributions)
    ordered = sizes.sort(1).values
    count = ordered.shape[1]
    ranks = torch.arange(1, count + 1, dtype=torch.float64)
    weights = (2 * ranks - count - 1) / count
    return Score(((ordered @ weights) / ordered.sum(1)).to(dtype))


def entropy(attributions: tuple[Tensor, ...]) -> Score:
    """The entropy of the magnitudes' shares, in nats.

    Bhatt, Weller, Moura (2020), https://arxiv.org/abs/2005.00631, "complexity".
    """
    sizes, dtype = _magnitudes(attributions)
    shares = sizes / sizes.sum(1, keepdim=True)
    return Score(torch.special.entr(shares).sum(1).to(dtype))


def effective_count(attributions: tuple[Tensor, ...], threshold: float) -> Score:
    """The number of elements whose magnitude is above a threshold.

    Nguyen, Martinez (2020), https://arxiv.org/abs/2007.07584, "effective complexity", with a
    threshold in place of the tolerated loss.
    """
    sizes, dtype = _magnitudes(attributions)
    return Score((sizes > threshold).sum(1).to(dtype))


def _magnitudes(attributions: tuple[Tensor, ...]) -> tuple[Tensor, torch.dtype]:
    """The magnitudes of each example's elements, float64 on the CPU, and the dtype of results."""
    flat = [a.detach().cpu().double().abs().reshape(len(a), -1) for a in attributions]
    return torch.cat(flat, 1), torch.promote_types(attributions[0].dtype, torch.float32)
