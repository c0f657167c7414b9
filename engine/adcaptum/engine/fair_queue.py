"""Where rows wait: weighted fair queueing over requests, with one lane for every batch key.

Each request has a virtual time: the rows that it was given, divided by its weight. The queue has a
clock that runs as fast as a request's virtual time would if all had their fair share.

Rules:
1. A request that comes (back) with rows to do starts at the clock, or at its own virtual time if
   that is later: neither newcomers nor those who were idle have an advantage to spend.
2. Rows are given out in quanta, in order of virtual finish time: where a request's virtual time
   will stand after its next quantum. Ties go to the earlier deadline, then to the earlier arrival.
   So requests that need less than a quantum come first and are not cut up without need; larger ones
   take turns.
3. Only rows of one key are given out at a time. The key is that of the request which comes first;
   the requests of other keys wait, and rule 2 lets them lead as soon as they are behind.
4. Whoever merely fills up a batch that another leads is never charged more than one batch ahead of
   the clock: what would have been left empty is nearly free.
5. Nobody starves. While a request of weight w with r rows waits, at most W / w * r + n * (q + c)
   rows of its priority are given out: W is the weight of all who wait, n their number, q the
   quantum and c the capacity of a batch. (Held by tests; a single-row request is the case r = 1.)
6. The jobs of a request with the same key are given out in the order in which they were added, and
   the rows of a job in their order.

Prior art: start-time fair queueing (Goyal, Vin and Cheng, 1996) and WF2Q+ (Bennett and Zhang,
1997), with batches in the place of packets.
"""

from collections import deque
from collections.abc import Hashable, Iterable
from enum import IntEnum
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar

P = TypeVar("P")


class Priority(IntEnum):
    """Classes of requests: as long as one has rows waiting, the next batch is for the lowest."""

    PREDICT = 0
    EXPLAIN = 1


class Request:
    """What the scheduler knows of a request. Only the scheduler changes it.

    Args:
        name: Whatever identifies it to the caller; not looked at.
        priority: Its class.
        weight: Its share of the rows, relative to the others of its class.
        deadline: When its answer is due, on the caller's clock (seconds); None for never.

    Attributes:
        pending_rows: Rows added and not yet evaluated, whether waiting or in a running batch.
        served_rows: Rows evaluated.
        scheduled_at: When its first rows were put into a batch, on the caller's clock.
        cancelled: Whether `Scheduler.cancel` was called.
        virtual_time: See the rules of this module.
    """

    __slots__ = (
        "arrival",
        "cancelled",
        "deadline",
        "name",
        "overdue",
        "pending_rows",
        "priority",
        "rank",
        "scheduled_at",
        "served_rows",
        "slots",
        "virtual_time",
        "weight",
    )

    def __init__(
        self,
        name: Hashable = None,
        *,
        priority: Priority = Priority.EXPLAIN,
        weight: float = 1.0,
        deadline: float | None = None,
    ) -> None:
        if not 0 < weight < inf:
            raise ValueError(f"weight must be positive and finite, not {weight}")
        self.name = name
        self.priority = priority
        self.weight = weight
        self.deadline = deadline
        self.arrival = -1
        self.rank = (inf if deadline is None else deadline, -1)
        self.cancelled = False
        self.overdue = False
        self.pending_rows = 0
        self.served_rows = 0
        self.scheduled_at: float | None = None
        self.virtual_time = 0.0
        self.slots: dict[_Lane, _Slot] = {}

    def __repr__(self) -> str:
        return f"<Request {self.name!r}, {self.priority.name}, {self.pending_rows} rows pending>"


class Job(Generic[P]):
    """One evaluation of a request: rows of one key. Only the scheduler changes it.

    Args:
        key: Jobs of equal keys may share a batch.
        rows: How many there are, at least one.
        payload: Whatever the caller needs to evaluate them; not looked at.

    Attributes:
        request: Whose it is, once it was added.
        next_row: The first row that was never put into a batch.
        done_rows: Rows evaluated.
    """

    __slots__ = ("added", "done_rows", "key", "next_row", "payload", "request", "rows")

    request: Request

    def __init__(self, key: Hashable, rows: int, payload: P) -> None:
        if rows < 1:
            raise ValueError(f"a job needs at least one row, not {rows}")
        self.key = key
        self.rows = rows
        self.payload = payload
        self.added = False
        self.next_row = 0
        self.done_rows = 0

    def __repr__(self) -> str:
        return f"<Job {self.key!r}, {self.done_rows} of {self.rows} rows done>"


class Slice(NamedTuple, Generic[P]):
    """The rows start..stop (exclusive) of a job."""

    job: Job[P]
    start: int
    stop: int


class _Lane:
    """The requests that have rows of one key waiting, as a heap by virtual finish time.

    An entry may be out of date, because a request was cancelled, or served in another lane, or has
    more to do than when the entry was made. Virtual finish times grow in all these cases, so an old
    entry comes up too early, never too late, and is put right then.
    """

    __slots__ = ("heap", "key", "size")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.heap: list[_Entry] = []
        self.size = 0


class _Slot:
    """The waiting jobs of one request in one lane; `serial` is that of its valid entry."""

    __slots__ = ("granted", "jobs", "lane", "request", "serial", "waiting_rows")

    def __init__(self, request: Request, lane: _Lane) -> None:
        self.request = request
        self.lane = lane
        self.jobs: deque[Job[Any]] = deque()
        self.waiting_rows = 0
        self.granted = 0
        self.serial = 0


# virtual finish time, (deadline, arrival), serial number, slot
_Entry = tuple[float, tuple[float, int], int, _Slot]


class FairQueue(Generic[P]):
    """The waiting rows of one priority.

    Args:
        quantum: The most rows that a request of weight 1 may be ahead of the others of its lane.
    """

    def __init__(self, quantum: int) -> None:
        self.quantum = quantum
        self.clock = 0.0
        self._weight = 0.0  # of the requests that have rows waiting here
        self._requests = 0  # their number
        self._lanes: dict[Hashable, _Lane] = {}
        self._heads: list[_Entry] = []  # a heap that has the first entry of every lane
        self._serials = count(1)
        self._arrivals = count()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def add(self, request: Request, jobs: Iterable[Job[P]]) -> None:
        """Let the rows of some new jobs wait."""
        if request.arrival < 0:
            request.arrival = next(self._arrivals)
            request.rank = (request.rank[0], request.arrival)
        if not request.slots:
            request.virtual_time = max(request.virtual_time, self.clock)
            self._weight += request.weight
            self._requests += 1
        for job in jobs:
            lane = self._lanes.get(job.key)
            if lane is None:
                lane = self._lanes[job.key] = _Lane(job.key)
            slot = request.slots.get(lane)
            if slot is None:
                slot = request.slots[lane] = _Slot(request, lane)
                lane.size += 1
                slot.waiting_rows = job.rows
                self._enter(slot)
            else:
                slot.waiting_rows += job.rows
            slot.jobs.append(job)

    def leader(self) -> Hashable:
        """The key of the rows to be given out next. The queue must not be empty."""
        while True:
            entry = self._heads[0]
            lane = entry[3].lane
            if lane.heap and lane.heap[0] is entry:
                first = self._settle(lane)
                if first is entry:
                    return lane.key
                heapreplace(self._heads, first)
            else:
                heappop(self._heads)

    def take(self, key: Hashable, rows: int, capacity: int) -> list[Slice[P]]:
        """Give out up to `rows` rows of a key, for a batch that holds `capacity` of them."""
        lane = self._lanes.get(key)
        if lane is None or rows <= 0:
            return []
        granted = self._grant(lane, rows)
        # Sums and differences of weights are inexact; the true one is never below any of its parts.
        weight = max(self._weight, granted[0].request.weight)
        self.clock += sum([slot.granted for slot in granted]) / weight
        slices: list[Slice[P]] = []
        for slot in granted:
            _cut(slot, slices)
            if not slot.waiting_rows:
                self._leave(slot)
        self._forgive(granted, capacity)
        self._tidy(lane)
        return slices

    def drop(self, request: Request) -> int:
        """Forget the waiting rows of a request; returns how many there were."""
        dropped = 0
        for slot in list(request.slots.values()):
            dropped += slot.waiting_rows
            slot.jobs.clear()
            slot.serial = 0
            self._leave(slot)
            self._tidy(slot.lane)
        return dropped

    def _entry(self, slot: _Slot) -> _Entry:
        request = slot.request
        rows = min(slot.waiting_rows, self.quantum)
        slot.serial = serial = next(self._serials)
        return (request.virtual_time + rows / request.weight, request.rank, serial, slot)

    def _enter(self, slot: _Slot) -> None:
        entry = self._entry(slot)
        heap = slot.lane.heap
        heappush(heap, entry)
        if heap[0] is entry:
            heappush(self._heads, entry)

    def _leave(self, slot: _Slot) -> None:
        request = slot.request
        del request.slots[slot.lane]
        slot.lane.size -= 1
        if not request.slots:
            self._requests -= 1
            self._weight = self._weight - request.weight if self._requests else 0.0

    def _settle(self, lane: _Lane) -> _Entry:
        """The lane's first entry, once those that are out of date were put right."""
        heap = lane.heap
        while True:
            finish, _, serial, slot = entry = heap[0]
            if slot.serial != serial:
                heappop(heap)
                continue
            rows = min(slot.waiting_rows, self.quantum)
            request = slot.request
            if request.virtual_time + rows / request.weight <= finish:
                return entry
            heapreplace(heap, self._entry(slot))

    def _grant(self, lane: _Lane, rows: int) -> list[_Slot]:
        """Divide `rows` among the slots of a lane; returns those that got some."""
        granted: list[_Slot] = []
        heap = lane.heap
        left = lane.size
        while rows and left:
            slot = self._settle(lane)[3]
            share = slot.waiting_rows
            if share > self.quantum and left > 1:
                share = self.quantum
            share = min(share, rows)
            rows -= share
            if not slot.granted:
                granted.append(slot)
            slot.granted += share
            slot.waiting_rows -= share
            slot.request.virtual_time += share / slot.request.weight
            if slot.waiting_rows:
                heapreplace(heap, self._entry(slot))
            else:
                heappop(heap)
                slot.serial = 0
                left -= 1
        return granted

    def _forgive(self, granted: list[_Slot], capacity: int) -> None:
        """Rule 4: bring back to one batch ahead of the clock who filled up too many."""
        for slot in granted:
            request = slot.request
            latest = self.clock + capacity / request.weight
            if request.virtual_time > latest:
                request.virtual_time = latest
                for waiting in request.slots.values():
                    self._enter(waiting)

    def _tidy(self, lane: _Lane) -> None:
        """After rows left a lane: drop it if it is empty, and keep the heaps small and correct."""
        if not lane.size:
            lane.heap.clear()
            # A lane that was dropped already may have a successor of the same key.
            if self._lanes.get(lane.key) is lane:
                del self._lanes[lane.key]
        else:
            if len(lane.heap) > 2 * lane.size + 32:
                lane.heap = [entry for entry in lane.heap if entry[3].serial == entry[2]]
                heapify(lane.heap)
            heappush(self._heads, lane.heap[0])
        if len(self._heads) > 4 * len(self._lanes) + 32:
            self._heads = [other.heap[0] for other in self._lanes.values()]
            heapify(self._heads)


def _cut(slot: _Slot, slices: list[Slice[Any]]) -> None:
    """Turn the rows granted to a slot into slices of its jobs."""
    rows = slot.granted
    slot.granted = 0
    jobs = slot.jobs
    while rows:
        job = jobs[0]
        start = job.next_row
        stop = min(start + rows, job.rows)
        slices.append(Slice(job, start, stop))
        job.next_row = stop
        rows -= stop - start
        if stop == job.rows:
            jobs.popleft()
