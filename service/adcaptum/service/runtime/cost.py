"""The expected cost of a request, and when it can be answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

RowCounts = Mapping[str, int]
"""Numbers of rows by kind: "forward" without gradients, "gradient" with them."""

BATCH_PLANNING_SECONDS: Final = 0.02
"""The longest that the mathematics of a request's methods may take in the threads that run batches,
about the time of a batch."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The expected cost of a request.

    Attributes:
        rows: Rows of the model, by kind.
        first_rows: The rows without which there is no answer at all, by kind.
        planned_rows: The rows that its methods plan, of which `rows` may be a part, by kind.
        planning_seconds: Time that long mathematics of its methods takes beside the model, such as
            regressions over many features.
        plain: Whether all of their mathematics takes some milliseconds at most.
        nbytes: Memory that it holds until it ends.
    """

    rows: RowCounts
    first_rows: RowCounts
    planned_rows: RowCounts
    planning_seconds: float
    plain: bool
    nbytes: int

    @property
    def total_rows(self) -> int:
        """The rows of all kinds."""
        return sum(self.rows.values())

    @property
    def plans_apart(self) -> bool:
        """True if its methods' mathematics is too long to run where batches run."""
        return self.planning_seconds > BATCH_PLANNING_SECONDS


class Ahead(NamedTuple):
    """The requests under way before a new one.

    Attributes:
        requests: Their number.
        rows: Their rows that wait or are expected.
        seconds: The time that these take. A small request waits for less, because shares are fair.
    """

    requests: int
    rows: int
    seconds: float


class Forecast(NamedTuple):
    """The expected time of a request.

    Attributes:
        seconds: Time of all its rows and of its mathematics, with the device for it alone.
        first_seconds: Time of the rows without which there is no answer at all.
        ahead: The requests under way before it.
        pace: How much longer than its computation everything takes at present.
    """

    seconds: float
    first_seconds: float
    ahead: Ahead
    pace: float = 1.0

    @property
    def promise(self) -> float:
        """The time until the answer, in seconds, as far as is known.

        Requests are not refused by it: the pace of a busy time is learnt anew only by batches.
        """
        return self.pace * (self.seconds + self.wait(self.seconds))

    def wait(self, own: float) -> float:
        """Estimates the wait for other requests' turns.

        The device is shared evenly: a request that takes `own` seconds waits for no more than the
        others have to do, and for no more than each one's turns while it has its own.
        """
        return min(self.ahead.seconds, self.ahead.requests * own)
