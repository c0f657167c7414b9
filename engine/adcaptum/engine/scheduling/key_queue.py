"""The waiting rows of one key: a heap of requests by virtual finish time."""

from collections import deque
from collections.abc import Hashable
from heapq import heapify
from typing import Any

from adcaptum.engine.scheduling.job import Job, JobSlice
from adcaptum.engine.scheduling.request import Request


class WaitingCaller:
    """A caller with rows waiting.

    Attributes:
        virtual_time: The virtual time that it would have if its requests were one.
        peak: The most requests that waited since their paces were set.
    """

    __slots__ = ("name", "peak", "requests", "virtual_time")

    def __init__(self, name: Hashable, clock: float) -> None:
        self.name = name
        self.virtual_time = clock
        self.peak = 0
        self.requests: dict[WaitingRequest, None] = {}

    @property
    def pace(self) -> int:
        """The virtual time that a row costs each of its requests: their number."""
        return len(self.requests)


class WaitingRequest:
    """A request with rows waiting, for as long as it has some.

    Attributes:
        rank: Its deadline, then its arrival: the earlier one comes first among equal finish times.
        virtual_time: See the rules of `fair_queue`.
        pace: The virtual time that a row costs.
        paced_rows: The number of rows until the pace is set anew.
        by_key: Its waiting jobs in the queue of each key.
    """

    __slots__ = ("by_key", "caller", "pace", "paced_rows", "rank", "request", "virtual_time")

    def __init__(
        self, request: Request, caller: WaitingCaller, rank: tuple[float, int], quantum: int
    ) -> None:
        self.request = request
        self.caller = caller
        self.rank = rank
        self.virtual_time = request.virtual_time
        self.pace = 1
        self.paced_rows = quantum
        self.by_key: dict[KeyQueue, WaitingJobs] = {}


class WaitingJobs:
    """The waiting jobs of one request in the queue of one key.

    Attributes:
        waiting_rows: Rows that were not granted.
        granted: Rows granted to the batch that is being made.
        serial: The serial number of its valid entry; 0: it has none.
    """

    __slots__ = ("granted", "jobs", "owner", "queue", "serial", "waiting_rows")

    def __init__(self, owner: WaitingRequest, queue: "KeyQueue") -> None:
        self.owner: WaitingRequest | None = owner
        self.queue = queue
        self.jobs: deque[Job[Any]] = deque()
        self.waiting_rows = 0
        self.granted = 0
        self.serial = 0

    def to_a_block(self, share: int, *, some: bool) -> int:
        """Returns how many of `share` more rows end where a block does.

        Args:
            share: Rows that could be granted.
            some: Whether at least one block's are, even if it is larger.
        """
        end = self.granted + share
        passed = 0  # the rows of the jobs before
        for job in self.jobs:
            first, left = job.next_row, job.rows - job.next_row
            if passed + left > end:
                below = (first + end - passed) // job.block * job.block - first
                share = passed + max(below, 0) - self.granted
                if share <= 0 and some:
                    share = passed + min(left, job.block - first % job.block) - self.granted
                return max(share, 0)
            passed += left
        return share

    def cut(self, slices: list[JobSlice[Any]]) -> None:
        """Turns the granted rows into slices of the jobs."""
        rows = self.granted
        self.granted = 0
        while rows:
            job = self.jobs[0]
            start = job.next_row
            stop = min(start + rows, job.rows)
            slices.append(JobSlice(job, start, stop))
            job.next_row = stop
            rows -= stop - start
            if stop == job.rows:
                self.jobs.popleft()


# virtual finish time, (deadline, arrival), serial number, jobs
Entry = tuple[float, tuple[float, int], int, WaitingJobs]


class KeyQueue:
    """The requests that have rows of one key waiting, as a heap by virtual finish time.

    An entry may be out of date, because a request was cancelled, or served in another queue, or has
    more to do than when the entry was made. Virtual finish times grow in all these cases, so an old
    entry comes up too early, never too late, and is put right then. Where one shrinks, a new entry
    is made at once.

    Attributes:
        size: The number of requests.
    """

    __slots__ = ("heap", "key", "size")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.heap: list[Entry] = []
        self.size = 0

    @property
    def bloated(self) -> bool:
        """True if most entries are out of date."""
        return len(self.heap) > 2 * self.size + 32

    def compact(self) -> None:
        """Drops the entries that are out of date."""
        self.heap = [entry for entry in self.heap if entry[3].serial == entry[2]]
        heapify(self.heap)
