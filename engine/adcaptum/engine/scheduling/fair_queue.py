"""The waiting rows of one class, queued fairly over callers and requests, by key.

Callers have equal shares of the rows, whatever the number of their requests; the waiting requests
of a caller divide its share equally. Each request has a virtual time, which advances with every row
that it is given by its *pace*: the number of its caller's waiting requests. The queue has a clock
that runs as fast as the virtual times would if all had exactly their share.

Rules:
1. A request that comes (back) with rows to do starts at the clock, or at its own virtual time or
   its caller's if that is later: neither newcomers nor those who were idle have an advantage to
   spend. (A caller's virtual time is the one that it would have if its requests were one.)
2. Rows are given out in quanta, in order of virtual finish time: the virtual time of a request
   after its next quantum. Ties go to the earlier deadline, then to the earlier arrival. So requests
   that need less than a quantum come first and are not cut up without need; larger ones alternate.
3. A pace is set when a request comes and after each of its quanta. So the requests that a caller
   sends at once are due one after the other, as fast as its share allows. When half of them have
   gone, the paces of the others are set anew: they are due when all of them can be.
4. Only rows of one key are given out at a time. The key is that of the request which comes first;
   the requests of other keys wait, and rule 2 lets them lead as soon as they are behind.
5. A request that only fills up a batch which another leads is never charged more than one batch
   ahead of the clock: the places would have been left empty, and are nearly free.
6. No request starves. While a request with r rows waits, at most C * (S * r + d) + n * (q + c) rows
   of its class are given out: C is the number of callers with waiting rows, S the number of its
   caller's waiting requests, n the number of waiting requests, q the quantum, c the capacity of a
   batch, and d is c if its caller has other requests, else 0. Rows that fill up batches of other
   classes are not counted. (Held by tests; a single row is the case r = 1.)
7. The jobs of a request with the same key are given out in the order in which they were added, and
   the rows of a job in their order.
8. Memory grows with the waiting rows, not with those that have passed.

Prior art: start-time fair queueing (Goyal, Vin and Cheng, 1996), WF2Q+ (Bennett and Zhang, 1997)
and hierarchical packet fair queueing (Bennett and Zhang, 1996), with batches in the place of
packets.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import inf
from typing import Generic, TypeVar

from adcaptum.engine.scheduling.job import Job, JobSlice
from adcaptum.engine.scheduling.key_queue import (
    Entry,
    KeyQueue,
    WaitingCaller,
    WaitingJobs,
    WaitingRequest,
)
from adcaptum.engine.scheduling.request import Request

P = TypeVar("P")


class FairQueue(Generic[P]):
    """The waiting rows of one class.

    Args:
        quantum: The most rows that a request may be ahead of the others of its key.
    """

    def __init__(self, quantum: int) -> None:
        self.quantum = quantum
        self.clock = 0.0
        self._callers: dict[Hashable, WaitingCaller] = {}
        self._requests: dict[Request, WaitingRequest] = {}
        self._keys: dict[Hashable, KeyQueue] = {}
        self._heads: list[Entry] = []  # a heap that has the first entry of every key's queue
        self._serials = count(1)
        self._arrivals = count()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, request: Request, jobs: Iterable[Job[P]]) -> None:
        """Lets the rows of some new jobs wait."""
        if request.arrival < 0:
            request.arrival = next(self._arrivals)
        waiter = self._requests.get(request)
        for job in jobs:
            if waiter is None:
                waiter = self._come(request)
            queue = self._keys.get(job.key)
            if queue is None:
                queue = self._keys[job.key] = KeyQueue(job.key)
            waiting = waiter.by_key.get(queue)
            if waiting is None:
                waiting = waiter.by_key[queue] = WaitingJobs(waiter, queue)
                queue.size += 1
                waiting.waiting_rows = job.rows
                self._enter(waiter, waiting)
            else:
                waiting.waiting_rows += job.rows
            waiting.jobs.append(job)

    def compact(self) -> None:
        """Drops the entries that are out of date: they keep keys of which no rows wait any more."""
        self._heads = [queue.heap[0] for queue in self._keys.values() if queue.heap]
        heapify(self._heads)

    def leader(self) -> Hashable:
        """Returns the key of the rows to be given out next. The queue must not be empty."""
        while True:
            entry = self._heads[0]
            queue = entry[3].queue
            if queue.heap and queue.heap[0] is entry:
                first = self._settle(queue)
                if first is entry:
                    return queue.key
                heapreplace(self._heads, first)
            else:
                heappop(self._heads)

    def take(self, key: Hashable, rows: int, capacity: int) -> list[JobSlice[P]]:
        """Gives out up to `rows` rows of a key, for a batch that holds `capacity` of them."""
        queue = self._keys.get(key)
        if queue is None or rows <= 0:
            return []
        granted = self._grant(queue, rows, some=rows == capacity)
        if not granted:
            self._tidy(queue)
            return []
        self.clock += sum([waiting.granted for _, waiting in granted]) / len(self._callers)
        slices: list[JobSlice[P]] = []
        for waiter, waiting in granted:
            waiting.cut(slices)
            self._forgive(waiter, capacity)
            if not waiting.waiting_rows:
                self._leave(waiter, waiting)
        self._tidy(queue)
        return slices

    def drop(
        self, request: Request, wanted: Callable[[Job[P]], bool]
    ) -> list[tuple[Hashable, int]]:
        """Forgets waiting rows of a request; returns how many there were of each key.

        Args:
            request: The request.
            wanted: Returns whether the rows of a job wait on.
        """
        waiter = self._requests.get(request)
        if waiter is None:
            return []
        dropped = []
        for queue, waiting in list(waiter.by_key.items()):
            before = waiting.waiting_rows
            waiting.jobs = deque([job for job in waiting.jobs if wanted(job)])
            waiting.waiting_rows = sum([job.rows - job.next_row for job in waiting.jobs])
            if waiting.waiting_rows == before:
                continue
            dropped.append((queue.key, before - waiting.waiting_rows))
            if waiting.waiting_rows:
                # Its finish time may be earlier now.
                self._enter(waiter, waiting)
            else:
                waiting.serial = 0
                self._leave(waiter, waiting)
            self._tidy(queue)
        return dropped

    def _come(self, request: Request) -> WaitingRequest:
        """Takes in a request that had no rows waiting, and its caller if it had none."""
        name = request if request.caller is None else request.caller
        caller = self._callers.get(name)
        if caller is None:
            caller = self._callers[name] = WaitingCaller(name, self.clock)
        due = inf if request.deadline is None else request.deadline
        waiter = WaitingRequest(request, caller, (due, request.arrival), self.quantum)
        self._requests[request] = waiter
        caller.requests[waiter] = None
        caller.peak = max(caller.peak, len(caller.requests))
        waiter.virtual_time = max(waiter.virtual_time, self.clock, caller.virtual_time)
        waiter.pace = caller.pace
        return waiter

    def _leave(self, waiter: WaitingRequest, waiting: WaitingJobs) -> None:
        """Takes out the jobs of a request that has no more rows of their key."""
        del waiter.by_key[waiting.queue]
        waiting.queue.size -= 1
        # Entries that are out of date shall not keep a request that has ended.
        waiting.owner = None
        if waiter.by_key:
            return
        waiter.request.virtual_time = waiter.virtual_time
        del self._requests[waiter.request]
        caller = waiter.caller
        del caller.requests[waiter]
        if not caller.requests:
            del self._callers[caller.name]
        elif 2 * len(caller.requests) <= caller.peak:
            self._hasten(caller)

    def _hasten(self, caller: WaitingCaller) -> None:
        """Sets the paces of a caller's requests anew when half of them have gone (rule 3).

        This looks at no more requests than have gone since it last did.
        """
        caller.peak = len(caller.requests)
        steps = {
            waiter: min(self.quantum, max([w.waiting_rows for w in waiter.by_key.values()]))
            for waiter in caller.requests
        }
        due = max(self.clock, caller.virtual_time) + sum(steps.values())
        for waiter, step in steps.items():
            if step and waiter.virtual_time + step * waiter.pace > due:
                waiter.pace = caller.pace
                waiter.virtual_time = due - step * waiter.pace
                self._enter_all(waiter)

    def _entry(self, waiter: WaitingRequest, waiting: WaitingJobs) -> Entry:
        rows = min(waiting.waiting_rows, self.quantum)
        waiting.serial = serial = next(self._serials)
        return (waiter.virtual_time + rows * waiter.pace, waiter.rank, serial, waiting)

    def _enter(self, waiter: WaitingRequest, waiting: WaitingJobs) -> None:
        """Makes a new entry for a request's jobs; the one that they had is out of date."""
        entry = self._entry(waiter, waiting)
        queue = waiting.queue
        heappush(queue.heap, entry)
        if queue.bloated:
            queue.compact()
        if queue.heap[0] is entry:
            self._lead(entry)

    def _enter_all(self, waiter: WaitingRequest, *, but: WaitingJobs | None = None) -> None:
        for waiting in waiter.by_key.values():
            if waiting is not but and waiting.waiting_rows:
                self._enter(waiter, waiting)

    def _lead(self, entry: Entry) -> None:
        """Takes in the first entry of a key's queue."""
        heappush(self._heads, entry)
        if len(self._heads) > 4 * len(self._keys) + 32:
            self.compact()

    def _settle(self, queue: KeyQueue) -> Entry:
        """Puts right the entries that are out of date until the first is valid; returns it."""
        heap = queue.heap
        while True:
            finish, _, serial, waiting = entry = heap[0]
            waiter = waiting.owner
            if waiter is None or waiting.serial != serial:
                heappop(heap)
                continue
            rows = min(waiting.waiting_rows, self.quantum)
            if waiter.virtual_time + rows * waiter.pace <= finish:
                return entry
            heapreplace(heap, self._entry(waiter, waiting))

    def _grant(
        self, queue: KeyQueue, rows: int, *, some: bool
    ) -> list[tuple[WaitingRequest, WaitingJobs]]:
        """Divides `rows` among the requests of a key; returns those that got some.

        With `some`, one does, even if its rows come in blocks that are larger.
        """
        granted: list[tuple[WaitingRequest, WaitingJobs]] = []
        heap = queue.heap
        left = queue.size
        while rows > 0 and left:
            waiting = self._settle(queue)[3]
            waiter = waiting.owner
            assert waiter is not None, "a valid entry has a request"
            share = waiting.waiting_rows
            if share > self.quantum and left > 1:
                share = self.quantum
            share = min(share, rows)
            if waiting.jobs[0].block > 1:
                share = waiting.to_a_block(share, some=some and not granted)
                if not share:
                    break
            rows -= share
            if not waiting.granted:
                granted.append((waiter, waiting))
            waiting.granted += share
            waiting.waiting_rows -= share
            self._charge(waiter, waiting, share)
            if waiting.waiting_rows:
                heapreplace(heap, self._entry(waiter, waiting))
            else:
                heappop(heap)
                waiting.serial = 0
                left -= 1
        return granted

    def _charge(self, waiter: WaitingRequest, waiting: WaitingJobs, rows: int) -> None:
        """Advances the virtual times of a request that is given rows, and of its caller."""
        caller = waiter.caller
        caller.virtual_time = max(caller.virtual_time, self.clock) + rows
        waiter.virtual_time += rows * waiter.pace
        waiter.paced_rows -= rows
        if waiter.paced_rows > 0:
            return
        waiter.paced_rows = self.quantum
        faster = caller.pace < waiter.pace
        waiter.pace = caller.pace
        if faster and len(waiter.by_key) > 1:
            self._enter_all(waiter, but=waiting)

    def _forgive(self, waiter: WaitingRequest, capacity: int) -> None:
        """Brings a request that filled up batches back to one ahead of the clock (rule 5)."""
        caller = waiter.caller
        caller.virtual_time = min(caller.virtual_time, self.clock + capacity)
        latest = self.clock + capacity * waiter.pace
        if waiter.virtual_time > latest:
            waiter.virtual_time = latest
            self._enter_all(waiter)

    def _tidy(self, queue: KeyQueue) -> None:
        """Drops a key's queue if it is empty, and else takes in its first entry."""
        if not queue.size:
            queue.heap.clear()
            # A queue that was dropped already may have a successor of the same key.
            if self._keys.get(queue.key) is queue:
                del self._keys[queue.key]
            return
        if queue.bloated:
            queue.compact()
        self._lead(queue.heap[0])
