"""Measures of how much of attributions lies where an object is, given its mask."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.metrics.average_ranks import average_ranks
from adcaptum.engine.metrics.score import Score


def pointing_game(attributions: Tensor, masks: Tensor) -> Score:
    """1 if the largest attribution lies within the mask, else 0.

    Zhang, Lin, Brandt, Shen, Sclaroff (2016), https://arxiv.org/abs/1608.00507. Of several equal
    largest ones, the share within the mask.
    """
    values, inside = _flat(attributions, masks)
    largest = values == values.amax(1, keepdim=True)
    return _score((largest & inside).sum(1) / largest.sum(1), attributions)


def relevance_mass(attributions: Tensor, masks: Tensor) -> Score:
    """The share of positive attributions that lies within the mask; NaN where there are none.

    Arras, Osman, Samek (2022), https://arxiv.org/abs/2003.07258, "relevance mass accuracy".
    """
    values, inside = _flat(attributions, masks)
    positive = values.clamp(min=0)
    return _score((positive * inside).sum(1) / positive.sum(1), attributions)


def relevance_rank(attributions: Tensor, masks: Tensor) -> Score:
    """The share of the mask's size in largest attributions that lie within it.

    Arras, Osman, Samek (2022), https://arxiv.org/abs/2003.07258, "relevance rank accuracy".
    """
    values, inside = _flat(attributions, masks)
    sizes = inside.sum(1)
    ranks = values.argsort(dim=1, descending=True, stable=True).argsort(1)
    first = ranks < sizes[:, None]
    return _score((first & inside).sum(1) / sizes, attributions)


def roc_area(attributions: Tensor, masks: Tensor) -> Score:
    """The area under the ROC curve of attributions as a detector of the mask's elements.

    The probability that an element within the mask has a larger attribution than one outside it,
    ties counting half (Mann, Whitney 1947).
    """
    values, inside = _flat(attributions, masks)
    sizes = inside.sum(1).double()
    wins = (average_ranks(values) * inside).sum(1) - sizes * (sizes + 1) / 2
    return _score(wins / (sizes * (values.shape[1] - sizes)), attributions)


def _flat(attributions: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Attributions float64, and masks bool, (examples, elements) each, on the CPU."""
    rows = len(attributions)
    spread = masks.cpu().bool().expand(attributions.shape)
    values = attributions.detach().cpu().double()
    return values.reshape(rows, -1), spread.reshape(rows, -1)


def _score(values: Tensor, attributions: Tensor) -> Score:
    return Score(values.to(torch.promote_types(attributions.dtype, torch.float32)))
