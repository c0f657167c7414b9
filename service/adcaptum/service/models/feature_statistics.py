"""Statistics of the columns of a table, over its background set."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """The values of a column in the background set.

    Attributes:
        minimum: The smallest one.
        maximum: The largest one.
        mean: Their mean.
        standard_deviation: The root of their mean squared distance from the mean.
    """

    minimum: float
    maximum: float
    mean: float
    standard_deviation: float


def of_columns(background: Tensor) -> tuple[FeatureStatistics | None, ...]:
    """Computes the statistics of each column, the last dimension of `background`.

    Values that are NaN or infinite do not count; a column without others has None.
    """
    columns = background.detach().to("cpu", torch.float64).flatten(0, -2).unbind(-1)
    return tuple(_of_column(column) for column in columns)


def _of_column(column: Tensor) -> FeatureStatistics | None:
    values = column[column.isfinite()]
    if not len(values):
        return None
    return FeatureStatistics(
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        standard_deviation=float(values.std(correction=0)),
    )
