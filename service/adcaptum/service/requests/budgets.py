"""What an explanation may cost, and how exact it has to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_pb2

LEAST_TOLERANCE: Final = 1e-9
"""The smallest tolerance; float32 has seven digits, and models compute with no more."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an explanation may cost, and how exact it has to be.

    Attributes:
        max_rows: How many rows it may use.
        tolerance: How far attributions may be off, relative to all of an explanation's together;
            None: as far as the methods' steps and samples leave them.
    """

    max_rows: int
    tolerance: float | None = None


def read(
    message: explanation_pb2.Budget, methods: Sequence[ResolvedMethod], most_rows: int
) -> Budget:
    """Reads what a request says of it.

    Raises:
        InvalidRequest: More rows than the model allows, or a tolerance that is none, or that a
            method does not take.
    """
    if message.max_rows > most_rows:
        raise InvalidRequest(
            "budget.max_rows", f"{message.max_rows}; the model allows at most {most_rows}"
        )
    tolerance = message.tolerance
    if tolerance and not LEAST_TOLERANCE <= tolerance < 1:
        raise InvalidRequest(
            "budget.tolerance",
            f"{tolerance:g}; must be at least 0 and below 1, and not between 0 and "
            f"{LEAST_TOLERANCE:g}",
        )
    if tolerance:
        for each in methods:
            if not each.method.traits.tolerance:
                able = ", ".join(name for name, known in METHODS.items() if known.traits.tolerance)
                raise InvalidRequest(
                    "budget.tolerance",
                    f"{tolerance:g}; {each.spec.name} takes none. Those that do: {able}",
                )
    return Budget(message.max_rows or most_rows, tolerance or None)


def partial(message: explanation_pb2.Budget, *, stream: bool) -> bool:
    """Whether the best answer so far will do when the deadline comes."""
    if message.on_deadline == explanation_pb2.ON_DEADLINE_UNSPECIFIED:
        return stream or bool(message.tolerance)
    return message.on_deadline == explanation_pb2.ON_DEADLINE_PARTIAL
