"""Groups of elements that are one feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMask:
    """Features of several elements, with their names.

    Attributes:
        mask: Whole numbers from 0, of the input's (or layer's) shape with a batch of one or one row
            per example. Elements with equal numbers are one feature.
        names: The name of each feature, by its number; empty where the numbers do.
    """

    mask: npt.NDArray[Any]
    names: Sequence[str] = ()


# An array is a mask without names.
Mask: TypeAlias = FeatureMask | npt.NDArray[Any] | Sequence[Any]
Masks: TypeAlias = Mask | Mapping[str, Mask]
