"""Measures of how much of attributions lies where an object is."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.metrics import localisation as engine
from adcaptum.engine.metrics.score import Score
from adcaptum.metrics.attributions import own_attributions


def pointing_game(attributions: Tensor, masks: Tensor) -> Score:
    """Returns 1 where the largest attribution lies within the mask, else 0.

    Zhang, Lin, Brandt, Shen, Sclaroff (2016), https://arxiv.org/abs/1608.00507.

    Args:
        attributions: Of shape (examples, *features).
        masks: 1 or True where the object is, of a shape that broadcasts to the attributions, such
            as (examples, 1, height, width).
    """
    return _measured(engine.pointing_game, attributions, masks)


def relevance_mass(attributions: Tensor, masks: Tensor) -> Score:
    """Measures the share of positive attributions that lies within the mask.

    Arras, Osman, Samek (2022), https://arxiv.org/abs/2003.07258. For the arguments see
    `pointing_game`.
    """
    return _measured(engine.relevance_mass, attributions, masks)


def relevance_rank(attributions: Tensor, masks: Tensor) -> Score:
    """Measures the share of the largest attributions, as many as the mask has, within it.

    Arras, Osman, Samek (2022), https://arxiv.org/abs/2003.07258. For the arguments see
    `pointing_game`.
    """
    return _measured(engine.relevance_rank, attributions, masks)


def localisation_auc(attributions: Tensor, masks: Tensor) -> Score:
    """Measures the area under the ROC curve of attributions as a detector of the mask.

    For the arguments see `pointing_game`.
    """
    return _measured(engine.roc_area, attributions, masks)


def _measured(
    measure: Callable[[Tensor, Tensor], Score], attributions: Tensor, masks: Tensor
) -> Score:
    (values,) = own_attributions(attributions)
    try:
        spread = masks.expand(values.shape)
    except RuntimeError as error:
        found = f"of shape {tuple(masks.shape)}"
        allowed = f"one that broadcasts to the attributions, {tuple(values.shape)}"
        raise InvalidInput("masks", found, allowed) from error
    if bool(((spread != 0) & (spread != 1)).any()):
        raise InvalidInput("masks", "of other numbers", "1 where the object is, and 0")
    within = spread.reshape(len(spread), -1).bool()
    if not bool((within.any(1) & ~within.all(1)).all()):
        raise InvalidInput("masks", "empty, or full, for an example", "of some of the elements")
    return measure(values, spread)
