"""Baselines: references that attributions compare an input with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Blur:
    """The image out of focus.

    Attributes:
        sigma: Standard deviation of the Gaussian in pixels, above 0.
    """

    sigma: float


@dataclass(frozen=True, slots=True)
class Background:
    """Rows drawn by the seed from the model's background set.

    They are a distribution: each row is a baseline of each example, for methods whose
    ``MethodInfo.accepts_distribution`` is true.

    Attributes:
        count: Number of rows, drawn without replacement, at least 1.
    """

    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Rows of which each is a baseline of each example.

    For methods whose ``MethodInfo.accepts_distribution`` is true.

    Attributes:
        rows: Of the input's shape, with any number of rows, at least 1.
    """

    rows: npt.NDArray[Any] | Sequence[Any]


# A number fills the input. An array has the input's shape with one row (the baseline of every
# example) or one per example. A text names a baseline of the model.
Baseline: TypeAlias = (
    float | str | npt.NDArray[Any] | Sequence[Any] | Blur | Background | Distribution
)
Baselines: TypeAlias = Baseline | Mapping[str, Baseline]
