"""Where rows wait: weighted fair queueing over callers and requests, with a lane for every key.

Callers have equal shares of the rows (or by weight), whatever the number of their requests; the
waiting requests of a caller divide its share by their weights. Each request has a virtual time,
which advances with every row that it is given by its *pace*: the weight of its caller's waiting
requests over its own, divided by its caller's share. The queue has a clock that runs as fast as the
virtual times would if all had exactly their share.

Rules:
1. A request that comes (back) with rows to do starts at the clock, or at its own virtual time or
   its caller's if that is later: neither newcomers nor those who were idle have an advantage to
   spend. (A caller's virtual time is where it would stand if its requests were one.)
2. Rows are given out in quanta, in order of virtual finish time: where a request's virtual time
   will stand after its next quantum. Ties go to the earlier deadline, then to the earlier arrival.
   So requests that need less than a quantum come first and are not cut up without need; larger ones
   take turns.
3. A pace is set when a request comes and after each of its quanta. So the requests that a caller
   sends at once are due one after the other, as fast as its share allows. When half of them have
   gone, the paces of the others are set anew: they are due when all of them can be.
4. Only rows of one key are given out at a time. The key is that of the request which comes first;
   the requests of other keys wait, and rule 2 lets them lead as soon as they are behind.
5. Whoever merely fills up a batch that another leads is never charged more than one batch ahead of
   the clock: what would have been left empty is nearly free.
6. Nobody starves. While a request with r rows waits, at most W / w * (S / v * r + d) + n * (q + c)
   rows of its class are given out: W is the weight of all callers who wait, w its caller's, S the
   weight of its caller's waiting requests, v its own, n the number of requests that wait, q the
   quantum, c the capacity of a batch, and d is c if its caller has others, else 0. Rows that fill
   up batches of other classes are not counted. (Held by tests; a single row is the case r = 1.)
7. The jobs of a request with the same key are given out in the order in which they were added, and
   the rows of a job in their order.
8. What is kept grows with what waits, not with what has passed.

Prior art: start-time fair queueing (Goyal, Vin and Cheng, 1996), WF2Q+ (Bennett and Zhang, 1997)
and hierarchical packet fair queueing (Bennett and Zhang, 1996), with batches in the place of
packets.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Any, Final, Generic, TypeVar

from adcaptum.engine.scheduling.requests import Job, JobSlice, Request

P = TypeVar("P")


class Lane:
    """The requests that have rows of one key waiting, as a heap by virtual finish time.

    An entry may be out of date, because a request was cancelled, or served in another lane, or has
    more to do than when the entry was made. Virtual finish times grow in all these cases, so an old
    entry comes up too early, never too late, and is put right then. Where one shrinks, a new entry
    is made at once.
    """

    __slots__ = ("heap", "key", "size")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.heap: list[_Entry] = []
        self.size = 0


class Slot:
    """The waiting jobs of one request in one lane; `serial` is that of its valid entry."""

    __slots__ = ("caller", "granted", "jobs", "lane", "request", "serial", "waiting_rows")

    def __init__(self, request: Request, caller: "_Caller", lane: Lane) -> None:
        self.request = request
        self.caller = caller
        self.lane = lane
        self.jobs: deque[Job[Any]] = deque()
        self.waiting_rows = 0
        self.granted = 0
        self.serial = 0


class _Caller:
    """A caller who has rows waiting.

    `load` is the weight of its requests that wait, `peak` the largest since their paces were set.
    `virtual_time` is where it would stand if its requests were one.
    """

    __slots__ = ("load", "name", "peak", "requests", "virtual_time", "weight")

    def __init__(self, name: Hashable, weight: float, clock: float) -> None:
        self.name = name
        self.weight = weight
        self.virtual_time = clock
        self.load = 0.0
        self.peak = 0.0
        self.requests: dict[Request, None] = {}

    def pace(self, request: Request) -> float:
        """What a row of a request costs it in virtual time."""
        # Differences of weights are inexact; the true load is no less than the request's own.
        return max(self.load / request.weight, 1.0) / self.weight


_NOBODY: Final = Request()

# virtual finish time, (deadline, arrival), serial number, slot
_Entry = tuple[float, tuple[float, int], int, Slot]


def equal_shares(caller: Hashable) -> float:  # noqa: ARG001
    """Gives every caller the same weight."""
    return 1.0


class FairQueue(Generic[P]):
    """The waiting rows of one class.

    Args:
        quantum: The most rows that a request of weight 1 may be ahead of the others of its lane.
        share: The weight of a caller; must be positive. A request without a caller is its own, and
            has its own weight.
    """

    def __init__(self, quantum: int, share: Callable[[Hashable], float] = equal_shares) -> None:
        self.quantum = quantum
        self.clock = 0.0
        self._share = share
        self._weight = 0.0  # of the callers who have rows waiting here
        self._callers: dict[Hashable, _Caller] = {}
        self._lanes: dict[Hashable, Lane] = {}
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
        caller = None
        for job in jobs:
            if caller is None:
                caller = self._caller_of(request)
            lane = self._lanes.get(job.key)
            if lane is None:
                lane = self._lanes[job.key] = Lane(job.key)
            slot = request.slots.get(lane)
            if slot is None:
                slot = request.slots[lane] = Slot(request, caller, lane)
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

    def take(self, key: Hashable, rows: int, capacity: int) -> list[JobSlice[P]]:
        """Give out up to `rows` rows of a key, for a batch that holds `capacity` of them."""
        lane = self._lanes.get(key)
        if lane is None or rows <= 0:
            return []
        granted = self._grant(lane, rows, some=rows == capacity)
        if not granted:
            self._tidy(lane)
            return []
        # Sums and differences of weights are inexact; the true one is never below any of its parts.
        weight = max(self._weight, granted[0].caller.weight)
        self.clock += sum([slot.granted for slot in granted]) / weight
        slices: list[JobSlice[P]] = []
        for slot in granted:
            _cut(slot, slices)
            self._forgive(slot, capacity)
            if not slot.waiting_rows:
                self._leave(slot)
        self._tidy(lane)
        return slices

    def drop(self, request: Request) -> list[tuple[Hashable, int]]:
        """Forget the waiting rows of a request; returns how many there were of each key."""
        dropped = []
        for slot in list(request.slots.values()):
            dropped.append((slot.lane.key, slot.waiting_rows))
            slot.jobs.clear()
            slot.serial = 0
            self._leave(slot)
            self._tidy(slot.lane)
        return dropped

    def _caller_of(self, request: Request) -> _Caller:
        """A request's caller; both are taken in if they had no rows waiting."""
        for slot in request.slots.values():
            return slot.caller
        name = request if request.caller is None else request.caller
        caller = self._callers.get(name)
        if caller is None:
            weight = request.weight if request.caller is None else self._share(request.caller)
            caller = self._callers[name] = _Caller(name, weight, self.clock)
            self._weight += weight
        caller.requests[request] = None
        caller.load += request.weight
        caller.peak = max(caller.peak, caller.load)
        request.virtual_time = max(request.virtual_time, self.clock, caller.virtual_time)
        request.pace = caller.pace(request)
        request.paced_rows = self.quantum
        return caller

    def _leave(self, slot: Slot) -> None:
        """A request has no more rows waiting in a lane."""
        request = slot.request
        del request.slots[slot.lane]
        slot.lane.size -= 1
        # Entries that are out of date shall not keep what has ended.
        slot.request = _NOBODY
        if request.slots:
            return
        caller = slot.caller
        del caller.requests[request]
        if not caller.requests:
            del self._callers[caller.name]
            self._weight = self._weight - caller.weight if self._callers else 0.0
            return
        caller.load -= request.weight
        if 2 * caller.load <= caller.peak:
            self._hasten(caller)

    def _hasten(self, caller: _Caller) -> None:
        """Rule 3: half of a caller's requests have gone; the others shall not wait for their sake.

        This looks at no more requests than have gone since it last did.
        """
        caller.peak = caller.load
        steps = {
            request: min(self.quantum, max([slot.waiting_rows for slot in request.slots.values()]))
            for request in caller.requests
        }
        start = max(self.clock, caller.virtual_time)
        due = start + sum(steps.values()) / caller.weight
        for request, step in steps.items():
            if step and request.virtual_time + step * request.pace > due:
                request.pace = caller.pace(request)
                request.virtual_time = due - step * request.pace
                self._enter_all(request)

    def _entry(self, slot: Slot) -> _Entry:
        request = slot.request
        rows = min(slot.waiting_rows, self.quantum)
        slot.serial = serial = next(self._serials)
        return (request.virtual_time + rows * request.pace, request.rank, serial, slot)

    def _enter(self, slot: Slot) -> None:
        """Make a new entry for a slot; the one that it had is out of date."""
        entry = self._entry(slot)
        lane = slot.lane
        heappush(lane.heap, entry)
        if len(lane.heap) > 2 * lane.size + 32:
            _compact(lane)
        if lane.heap[0] is entry:
            self._lead(entry)

    def _enter_all(self, request: Request, *, but: Slot | None = None) -> None:
        for slot in request.slots.values():
            if slot is not but and slot.waiting_rows:
                self._enter(slot)

    def _lead(self, entry: _Entry) -> None:
        """Take in the first entry of a lane."""
        heappush(self._heads, entry)
        if len(self._heads) > 4 * len(self._lanes) + 32:
            self._heads = [lane.heap[0] for lane in self._lanes.values() if lane.heap]
            heapify(self._heads)

    def _settle(self, lane: Lane) -> _Entry:
        """The lane's first entry, once those that are out of date were put right."""
        heap = lane.heap
        while True:
            finish, _, serial, slot = entry = heap[0]
            if slot.serial != serial:
                heappop(heap)
                continue
            rows = min(slot.waiting_rows, self.quantum)
            request = slot.request
            if request.virtual_time + rows * request.pace <= finish:
                return entry
            heapreplace(heap, self._entry(slot))

    def _grant(self, lane: Lane, rows: int, *, some: bool) -> list[Slot]:
        """Divide `rows` among the slots of a lane; returns those that got some.

        With `some`, one does, even if its rows come in blocks that are larger.
        """
        granted: list[Slot] = []
        heap = lane.heap
        left = lane.size
        while rows > 0 and left:
            slot = self._settle(lane)[3]
            share = slot.waiting_rows
            if share > self.quantum and left > 1:
                share = self.quantum
            share = min(share, rows)
            if slot.jobs[0].block > 1:
                share = _to_a_block(slot, share, some=some and not granted)
                if not share:
                    break
            rows -= share
            if not slot.granted:
                granted.append(slot)
            slot.granted += share
            slot.waiting_rows -= share
            self._charge(slot, share)
            if slot.waiting_rows:
                heapreplace(heap, self._entry(slot))
            else:
                heappop(heap)
                slot.serial = 0
                left -= 1
        return granted

    def _charge(self, slot: Slot, rows: int) -> None:
        """Advance the virtual times of a request that is given rows, and of its caller."""
        request = slot.request
        caller = slot.caller
        caller.virtual_time = max(caller.virtual_time, self.clock) + rows / caller.weight
        request.virtual_time += rows * request.pace
        request.paced_rows -= rows
        if request.paced_rows > 0:
            return
        request.paced_rows = self.quantum
        pace = caller.pace(request)
        if pace < request.pace and len(request.slots) > 1:
            request.pace = pace
            self._enter_all(request, but=slot)
        request.pace = pace

    def _forgive(self, slot: Slot, capacity: int) -> None:
        """Rule 5: bring back to one batch ahead of the clock who filled up too many."""
        request, caller = slot.request, slot.caller
        caller.virtual_time = min(caller.virtual_time, self.clock + capacity / caller.weight)
        latest = self.clock + capacity * request.pace
        if request.virtual_time > latest:
            request.virtual_time = latest
            self._enter_all(request)

    def _tidy(self, lane: Lane) -> None:
        """After rows left a lane: drop it if it is empty, and keep its head where it belongs."""
        if not lane.size:
            lane.heap.clear()
            # A lane that was dropped already may have a successor of the same key.
            if self._lanes.get(lane.key) is lane:
                del self._lanes[lane.key]
            return
        if len(lane.heap) > 2 * lane.size + 32:
            _compact(lane)
        self._lead(lane.heap[0])


def _compact(lane: Lane) -> None:
    lane.heap = [entry for entry in lane.heap if entry[3].serial == entry[2]]
    heapify(lane.heap)


def _to_a_block(slot: Slot, share: int, *, some: bool) -> int:
    """How many of `share` more rows end where a block does; at least one block's if `some`."""
    end = slot.granted + share
    passed = 0  # the rows of the jobs before
    for job in slot.jobs:
        first, left = job.next_row, job.rows - job.next_row
        if passed + left > end:
            below = (first + end - passed) // job.block * job.block - first
            share = passed + max(below, 0) - slot.granted
            if share <= 0 and some:
                share = passed + min(left, job.block - first % job.block) - slot.granted
            return max(share, 0)
        passed += left
    return share


def _cut(slot: Slot, slices: list[JobSlice[Any]]) -> None:
    """Turn the rows granted to a slot into slices of its jobs."""
    rows = slot.granted
    slot.granted = 0
    jobs = slot.jobs
    while rows:
        job = jobs[0]
        start = job.next_row
        stop = min(start + rows, job.rows)
        slices.append(JobSlice(job, start, stop))
        job.next_row = stop
        rows -= stop - start
        if stop == job.rows:
            jobs.popleft()
