"""The outcome of a request's computation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, furthest_short
from adcaptum.service.requests.pieces import Piece


@dataclass(frozen=True, slots=True, eq=False)
class MethodFailure:
    """The failure of one method, beside results of others.

    Attributes:
        error: The error.
        rows_used: The rows that were evaluated for it.
    """

    error: Exception
    rows_used: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The attributions of a request's methods, and the failures of those that have none.

    Attributes:
        attributions: The pieces of the methods that did not fail, each with its attribution.
        failures: The failure of each other method, by its place in the request.
    """

    attributions: Sequence[tuple[Piece, Attribution]]
    failures: Mapping[int, MethodFailure] = field(default_factory=dict)

    def of(self, method: int) -> list[tuple[Piece, Attribution]]:
        """Returns the attributions of a method."""
        return [each for each in self.attributions if each[0].method == method]


def stop_reason(own: Sequence[tuple[Piece, Attribution]]) -> StopReason:
    """Returns a method's stop reason: that of the explanation that fell short the most."""
    if len(own) == 1:
        return own[0][1].stop_reason
    return furthest_short([attribution.stop_reason for _, attribution in own])
