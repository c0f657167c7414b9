"""Preparations: results of reading that follow from a question and the shapes of the inputs.

A question keeps them, so that requests for inputs of the same shapes are read in a fraction of the
time. Joint explanations have a memory of their own (`handlers/joint`), by the number of requests.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.questions.baselines import Baselines

MOST_SHAPES: Final = 4
"""The most shapes of inputs that a question remembers."""

MOST_BYTES: Final = 1 << 11
"""The largest baselines that it remembers, in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Results of reading that follow from a question and the shapes of the inputs.

    Attributes:
        baselines: The baselines of the inputs.
        planned_rows: The rows that each method plans for one target.
        planned_multiply_adds: The multiply-adds of the methods' own mathematics for one target.
        planned_bytes: The memory that the methods hold while they run, for one target.
    """

    baselines: Baselines
    planned_rows: tuple[int, ...]
    planned_multiply_adds: float
    planned_bytes: int


class Preparations:
    """The preparations of one question, by the shapes of the inputs."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Prepares an empty memory."""
        self._known: dict[Hashable, Preparation] = {}

    def of(self, inputs: Inputs) -> Preparation | None:
        """Returns the preparation for inputs of these shapes; None if there is none yet."""
        return self._known.get(_shapes(inputs))

    def keep(self, inputs: Inputs, preparation: Preparation) -> None:
        """Remembers a preparation, unless it is large or there are enough of them."""
        size = sum([each.nbytes for each in preparation.baselines.tensors])
        if size <= MOST_BYTES and len(self._known) < MOST_SHAPES:
            self._known[_shapes(inputs)] = preparation


def _shapes(inputs: Inputs) -> Hashable:
    # A model may be loaded again, on another device.
    first = inputs.tensors[0]
    if len(inputs.tensors) == 1:
        return first.shape, first.device
    return (*[each.shape for each in inputs.tensors], first.device)
