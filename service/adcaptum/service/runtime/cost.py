"""Costs and forecasts: the expected cost of a request, and the time of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

RowCounts = Mapping[str, int]
"""Numbers of rows by kind: "forward" without gradients, "gradient" with them."""

BATCH_PLANNING_SECONDS: Final = 0.02
"""The longest time of a request's own mathematics in the threads that run batches: about that of a
batch."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The expected cost of a request.

    Attributes:
        rows: Rows of the model, by kind.
        first_rows: The rows that even the first estimate needs, by kind.
        planned_rows: The rows that its methods plan, of which `rows` may be a part, by kind.
        planning_seconds: Time of its methods' own mathematics, where that is long, such as
            regressions over many features.
        plain: Whether all of that mathematics takes some milliseconds at most.
        nbytes: Memory that it holds until it ends.
        row_bytes: The bytes of the inputs of an example.
    """

    rows: RowCounts
    first_rows: RowCounts
    planned_rows: RowCounts
    planning_seconds: float
    plain: bool
    nbytes: int
    row_bytes: int

    @property
    def total_rows(self) -> int:
        """The rows of all kinds."""
        return sum(self.rows.values())

    @property
    def plans_apart(self) -> bool:
        """True if its methods' mathematics runs in planning threads, because it takes long."""
        return self.planning_seconds > BATCH_PLANNING_SECONDS


class Ahead(NamedTuple):
    """The requests in flight before a new one.

    Attributes:
        requests: Their number.
        rows: Their rows that wait or are expected.
        seconds: The time of these rows. A small request waits for less, because shares are fair.
    """

    requests: int
    rows: int
    seconds: float


class Forecast(NamedTuple):
    """The expected time of a request.

    Attributes:
        seconds: Time of all its rows and of its mathematics, with the device for it alone.
        first_seconds: Time of the rows that even the first estimate needs.
        ahead: The requests in flight before it.
        pace: The present ratio of wall time to computation.
    """

    seconds: float
    first_seconds: float
    ahead: Ahead
    pace: float = 1.0

    @property
    def promise(self) -> float:
        """The time until the answer, in seconds, as far as is known.

        Admission does not use it: only batches update the pace, so that refusals could go on after
        a busy time.
        """
        return self.pace * (self.seconds + self.wait(self.seconds))

    def wait(self, own: float) -> float:
        """Estimates the wait for other requests' turns.

        Requests share the device evenly: a request of `own` seconds waits at most for all work of
        the others, and at most `own` seconds for each of them.
        """
        return min(self.ahead.seconds, self.ahead.requests * own)
