"""Attributions scaled to [-1, 1] for drawing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.visualization.choices import VisualizeSign

Array = npt.NDArray[Any]

_NEARLY_ZERO = 1e-5


def as_array(values: npt.ArrayLike | Tensor) -> Array:
    """Returns values as an array: of a tensor on any device, or of an array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        return (values.float() if values.dtype is torch.bfloat16 else values).numpy()
    return np.asarray(values)


def normalised(attr: Array, sign: VisualizeSign, outlier_perc: float) -> Array:
    """Scales attributions of the wanted sign so that all but outliers lie within [-1, 1].

    Outliers are the largest that make up `outlier_perc` percent of the sum of absolute values; all
    of them become 1 or -1. Zeros stay zeros, whatever the scale, and NaN stays NaN.

    Returns:
        float64 of the same shape; from 0 to 1 unless the sign is `all`, also for negative ones.

    Raises:
        AssertionError: If `outlier_perc` is not a percentage.
    """
    if not 0 <= outlier_perc <= 100:
        raise InvalidInput("outlier_perc", outlier_perc, "a percentage from 0 to 100")
    signed = _of_sign(attr.astype(np.float64), sign)
    scale = _threshold(np.abs(signed), 100 - outlier_perc)
    if scale == 0:
        # There is no scale: every value that is not zero is an outlier.
        return np.sign(signed)
    if scale < _NEARLY_ZERO:
        warnings.warn(
            f"the attributions are all close to 0: what is drawn as 1 is {scale:.2g}",
            stacklevel=3,
        )
    # Clipped first: a quotient might overflow.
    return np.clip(signed, -scale, scale) / scale


def _of_sign(attr: Array, sign: VisualizeSign) -> Array:
    match sign:
        case VisualizeSign.positive:
            return np.maximum(attr, 0)
        case VisualizeSign.negative:
            return np.maximum(-attr, 0)
        case VisualizeSign.absolute_value:
            return np.abs(attr)
        case VisualizeSign.all:
            return attr


def _threshold(sizes: Array, percentile: float) -> float:
    """Returns the least size up to which the sizes add up to that percentage of their sum."""
    ascending = np.sort(sizes[np.isfinite(sizes)], axis=None)
    if not ascending.size:
        return 0.0
    sums = np.cumsum(ascending)
    enough = np.searchsorted(sums, sums[-1] * 0.01 * percentile)
    return float(ascending[min(enough, ascending.size - 1)])
