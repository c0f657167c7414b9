"""Events of ``explain_stream``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.method_result import MethodResult


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first event: the request is valid and has its place in the queue.

    It may come again, if a worker was replaced; what came before is then void.

    Attributes:
        request_id: The request's id in the server's log.
        expected_rows: Rows that it is expected to take.
        expected_seconds: Seconds that it is expected to take, waiting included.
        rows_ahead: Rows that other requests of its class, and of those before it, are still to
            evaluate.
        requests_ahead: Requests in flight of these classes; they share the device.
    """

    request_id: str
    expected_rows: int
    expected_seconds: float = 0.0
    rows_ahead: int = 0
    requests_ahead: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The state of a request, with the best estimates so far; replaces the Progress before it.

    Attributes:
        rows_done: Rows that are done.
        expected_rows: Rows that it is expected to take in all.
        remaining_seconds: Seconds that it is expected to take from now on; None if unknown.
        results: The best estimates so far, one entry per method; without explanations for methods
            that have none before their end.
    """

    rows_done: int
    expected_rows: int
    remaining_seconds: float | None
    results: Sequence[MethodResult]

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The estimates of all methods: by method, example and target."""
        return tuple(each for result in self.results for each in result.explanations)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The last event: the answer.

    Attributes:
        explanations: The value that ``explain`` would have returned.
    """

    explanations: Explanations


Event: TypeAlias = Accepted | Progress | Result
