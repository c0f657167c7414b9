"""A request as the scheduler sees it."""

from collections.abc import Hashable

from adcaptum.engine.scheduling.priority import Priority


class Request:
    """A request's class, caller and deadline, and the progress of its rows.

    Only the scheduler changes it.

    Args:
        name: Any identification for its maker; the scheduler does not read it.
        priority: Its class.
        caller: Its sender. The rows of a class are shared by callers first, then by the requests
            of each. None: a caller of its own.
        deadline: When its answer is due, on the caller's clock (seconds); None for never.
        rows: The number of rows that it is expected to add in all, as far as is known.
        seconds: The time that these are expected to take.
        nbytes: The memory that it holds until it ends, in bytes.
        members: The number of callers' requests that it stands for.

    Attributes:
        pending_rows: Rows added and not yet evaluated, whether waiting or in a running batch.
        served_rows: Rows evaluated.
        scheduled_at: When its first rows were put into a batch, on the caller's clock.
        cancelled: Whether `Scheduler.cancel` was called.
        virtual_time: Its virtual time when it last had rows waiting; see `fair_queue`.
    """

    __slots__ = (
        "announced", "arrival", "caller", "cancelled", "deadline", "expected_rows",
        "expected_seconds", "members", "name", "nbytes", "overdue", "pending_rows", "priority",
        "returned_rows", "scheduled_at", "served_rows", "timed", "virtual_time",
    )  # fmt: skip

    def __init__(
        self,
        name: Hashable = None,
        *,
        priority: Priority = Priority.INTERACTIVE,
        caller: Hashable = None,
        deadline: float | None = None,
        rows: int = 0,
        seconds: float = 0.0,
        nbytes: int = 0,
        members: int = 1,
    ) -> None:
        self.name = name
        self.priority = priority
        self.caller = caller
        self.deadline = deadline
        self.expected_rows = rows
        self.expected_seconds = seconds
        self.nbytes = nbytes
        self.members = members
        self.announced = False
        self.arrival = -1
        self.cancelled = False
        self.overdue = False
        self.timed = False
        self.pending_rows = 0
        self.returned_rows = 0
        self.served_rows = 0
        self.scheduled_at: float | None = None
        self.virtual_time = 0.0

    def __repr__(self) -> str:
        return f"<Request {self.name!r}, {self.priority.name}, {self.pending_rows} rows pending>"
