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


@dataclass(frozen=True, slots=True)
class Superpixels:
    """Features that are groups of neighbouring pixels of similar colour, found by SLIC.

    For an input that is an image. The client finds them in the image as the model sees it, for
    which it asks the server if the image is not given in that form. They need scikit-image; the
    extra ``adcaptum[superpixels]`` brings it.

    Attributes:
        count: The approximate number of superpixels, at least 1.
        compactness: The weight of nearness against colour, above 0: the larger, the squarer.
    """

    count: int = 50
    compactness: float = 10.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}, must be at least 1")
        if not self.compactness > 0:
            raise ValueError(f"compactness is {self.compactness}, must be above 0")


# An array is a mask without names.
Mask: TypeAlias = FeatureMask | Superpixels | npt.NDArray[Any] | Sequence[Any]
Masks: TypeAlias = Mask | Mapping[str, Mask]
