"""What the scheduler is given: requests, and their jobs of rows."""

from collections.abc import Hashable
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from adcaptum.engine.scheduling.backlog import Account
    from adcaptum.engine.scheduling.fair_queue import Lane, Slot

P = TypeVar("P")


class Priority(IntEnum):
    """Classes of requests: as long as one has rows waiting, the next batch is for the lowest.

    BATCH is for work in the background: it gets what PREDICT and INTERACTIVE leave idle, and may
    get nothing as long as these fill the device.
    """

    PREDICT = 0
    INTERACTIVE = 1
    BATCH = 2


class Request:
    """What the scheduler knows of a request. Only the scheduler changes it.

    Args:
        name: Whatever identifies it to whoever made it; not looked at.
        priority: Its class.
        caller: Whom it is for. The rows of a class are shared by callers first, then by the
            requests of each. None: a caller of its own, with the request's weight.
        weight: Its share of its caller's rows, relative to the caller's other requests.
        deadline: When its answer is due, on the caller's clock (seconds); None for never.
        rows: How many rows it is expected to add in all, as far as is known.
        seconds: How long these are expected to take.
        nbytes: The memory that it holds until it ends, in bytes.

    Attributes:
        pending_rows: Rows added and not yet evaluated, whether waiting or in a running batch.
        served_rows: Rows evaluated.
        scheduled_at: When its first rows were put into a batch, on the caller's clock.
        cancelled: Whether `Scheduler.cancel` was called.
        virtual_time: See the rules of `fair_queue`.
        pace: By how much the virtual time advances with a row.
        paced_rows: For how many more rows it does.
    """

    __slots__ = (
        "accounts",
        "announced",
        "arrival",
        "caller",
        "cancelled",
        "deadline",
        "expected_rows",
        "expected_seconds",
        "name",
        "nbytes",
        "overdue",
        "pace",
        "paced_rows",
        "pending_rows",
        "priority",
        "rank",
        "returned_rows",
        "scheduled_at",
        "served_rows",
        "slots",
        "timed",
        "virtual_time",
        "weight",
    )

    def __init__(
        self,
        name: Hashable = None,
        *,
        priority: Priority = Priority.INTERACTIVE,
        caller: Hashable = None,
        weight: float = 1.0,
        deadline: float | None = None,
        rows: int = 0,
        seconds: float = 0.0,
        nbytes: int = 0,
    ) -> None:
        if not 0 < weight < inf:
            raise ValueError(f"weight must be positive and finite, not {weight}")
        self.name = name
        self.priority = priority
        self.caller = caller
        self.weight = weight
        self.deadline = deadline
        self.expected_rows = rows
        self.expected_seconds = seconds
        self.nbytes = nbytes
        self.accounts: tuple[Account, ...] = ()
        self.announced = False
        self.arrival = -1
        self.rank = (inf if deadline is None else deadline, -1)
        self.cancelled = False
        self.overdue = False
        self.timed = False
        self.pending_rows = 0
        self.returned_rows = 0
        self.served_rows = 0
        self.scheduled_at: float | None = None
        self.virtual_time = 0.0
        self.pace = 1.0
        self.paced_rows = 0
        self.slots: dict[Lane, Slot] = {}

    def __repr__(self) -> str:
        return f"<Request {self.name!r}, {self.priority.name}, {self.pending_rows} rows pending>"


class Job(Generic[P]):
    """One evaluation of a request: rows of one key. Only the scheduler changes it.

    Args:
        key: Jobs of equal keys may share a batch.
        rows: How many there are, at least one.
        payload: Whatever is needed to evaluate them; not looked at.
        block: Rows are cut at multiples of so many, as far as failures allow: to evaluate a part of
            a block costs as much as all of it. Jobs of equal keys have equal blocks. A batch has at
            least one block, even if that is more than its capacity.

    Attributes:
        request: Whose it is, once it was added.
        next_row: The first row that was never put into a batch.
        done_rows: Rows evaluated.
    """

    __slots__ = ("added", "block", "done_rows", "key", "next_row", "payload", "request", "rows")

    request: Request

    def __init__(self, key: Hashable, rows: int, payload: P, block: int = 1) -> None:
        if rows < 1:
            raise ValueError(f"a job needs at least one row, not {rows}")
        if block < 1:
            raise ValueError(f"a block has at least one row, not {block}")
        self.key = key
        self.rows = rows
        self.payload = payload
        self.block = block
        self.added = False
        self.next_row = 0
        self.done_rows = 0

    def __repr__(self) -> str:
        return f"<Job {self.key!r}, {self.done_rows} of {self.rows} rows done>"


class JobSlice(NamedTuple, Generic[P]):
    """The rows start..stop (exclusive) of a job."""

    job: Job[P]
    start: int
    stop: int


def rows_of(slices: list[JobSlice[Any]]) -> int:
    """How many rows some slices have."""
    return sum([stop - start for _, start, stop in slices])
