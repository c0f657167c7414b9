"""Planned flows, and plans: the stages of a request's computation."""

from collections.abc import Sequence
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
    """

    flow: Flow[Any]
    max_rows: int | None = None
    about: object = None


class Plan(Protocol):
    """The stages of a work: flows that run side by side, then others that need their results."""

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the flows of the first stage."""
        ...

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        """Returns the flows of the stage after the one that gave `results`; none after the last."""
        ...
