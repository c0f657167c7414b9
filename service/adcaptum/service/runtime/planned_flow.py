"""Planned flows, and plans: the stages of a request's computation."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adcaptum.engine.vocabulary.flow import Flow


@dataclass(frozen=True, slots=True, eq=False)
class PlannedFlow:
    """One flow of a stage.

    Attributes:
        flow: The flow to run.
        max_rows: The most rows that it may use; None: any number.
        about: The part of the request that the flow computes, a note for the plan's maker.
        part: Flows of one part of the last stage fail together, and without the other parts; None:
            all fail with it.
    """

    flow: Flow[Any]
    max_rows: int | None = None
    about: object = None
    part: Hashable = None


@dataclass(frozen=True, slots=True, eq=False)
class FailedFlow:
    """The result of a flow whose part failed, while others did not.

    Attributes:
        error: The error of its part.
        rows_used: The rows that it used.
    """

    error: Exception
    rows_used: int


class Plan(Protocol):
    """The stages of a work: flows that run side by side, then others that need their results."""

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the flows of the first stage."""
        ...

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        """Returns the flows of the stage after the one that gave `results`; none after the last."""
        ...
