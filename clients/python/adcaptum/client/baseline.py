"""Baselines: what attributions compare an input with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Blur:
    """A Gaussian blur of the image itself.

    Attributes:
        sigma: Standard deviation of the Gaussian in pixels; above 0.
    """

    sigma: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of the model's declared background set.

    They are a distribution: every row is a baseline of every example, for methods whose
    ``MethodInfo.background`` is true.

    Attributes:
        count: Number of rows drawn without replacement; at least one.
    """

    count: int


# A number fills the whole input. An array has the input's shape, with one row for all
# examples, one for each, or any other number of rows, which are then a distribution. A text names
# one of the model's baselines, of which "zero" always exists.
Baseline: TypeAlias = float | str | npt.NDArray[Any] | Blur | Samples
Baselines: TypeAlias = Baseline | Mapping[str, Baseline] | None
