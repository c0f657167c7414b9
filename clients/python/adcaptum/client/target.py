"""Explained numbers of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

from adcaptum.client.neuron import Neuron


@dataclass(frozen=True, slots=True)
class Argmax:
    """The class with the largest output of each example: the target of requests without one."""


@dataclass(frozen=True, slots=True)
class TopK:
    """The classes with the largest outputs of each example: k targets.

    Attributes:
        k: Number of classes, at least 1.
    """

    k: int


@dataclass(frozen=True, slots=True)
class AllTargets:
    """Every class: as many targets as classes; the same as ``"all"``."""


# A number is a class, a tuple the index of an output of several dimensions, a text a class by its
# label ("all": every class), an array of numbers the output of each example: of shape (examples,)
# or (examples, dimensions).
Target: TypeAlias = (
    int | tuple[int, ...] | str | npt.NDArray[Any] | Argmax | TopK | AllTargets | Neuron
)
Targets: TypeAlias = Target | Sequence[Target]
