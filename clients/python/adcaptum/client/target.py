"""Which outputs are explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TopK:
    """The k classes with the largest outputs, each explained.

    Attributes:
        k: How many, at least one.
    """

    k: int


@dataclass(frozen=True, slots=True)
class AllTargets:
    """Every class, each explained. ``"all"`` says the same."""


# None stands for the largest output, a number for one class, numbers for one class per example, and
# a text for a class by its label; "all" for every class. A class that is really labelled "all" can
# be named by its number.
Target: TypeAlias = int | Sequence[int] | str | TopK | AllTargets | None
