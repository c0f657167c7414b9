"""Choice of the outputs to explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TopK:
    """The k classes with the largest outputs, each explained.

    Attributes:
        k: The number of classes, at least one.
    """

    k: int


@dataclass(frozen=True, slots=True)
class AllTargets:
    """Every class, each explained; the same as ``"all"``."""


# None stands for the largest output, a number for one class, numbers for one class per example, and
# a text for a class by its label; "all" for every class. A class labelled "all" can be named by
# its number.
Target: TypeAlias = int | Sequence[int] | str | TopK | AllTargets | None
