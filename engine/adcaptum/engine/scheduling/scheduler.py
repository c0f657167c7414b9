"""Continuous batching over all requests in flight: the scheduler decides which rows run next.

The caller loops over `schedule`, evaluating the batch, and `update`; requests are added and
cancelled in between. This is bookkeeping only: time comes in as arguments, and jobs carry an
opaque payload.

Rules:
1. `schedule` never waits: every row that can run now is in the batch, up to its key's capacity.
2. All rows of a batch have the same key.
3. While a request of a class waits, the next batch is led by that class or by one before it; rows
   of later classes only fill it up. Within a class, rows are given out by fair shares: see
   `fair_queue`. So no request starves for the sake of others of the same class; but a class may
   starve as long as those before it fill the device, and BATCH is there to be starved.
4. Several batches may be running at once. A row is in one of them at most, and it is evaluated
   once, unless its batch failed.
5. Every batch ends with exactly one of `update` (it was evaluated), `out_of_memory` or `split` (it
   failed). Rows of a failed batch come before all others of their class; those of a split batch run
   again in halves, without the rows of requests that were not in it, until only the culprit fails:
   a request, or a part of one.
6. A cancelled request is given nothing more, nor is a part of one that was given up. The rows of
   a cancelled request in running batches count as wasted.
7. added = evaluated + wasted + dropped + waiting + running, in rows, at any time.
8. `ledger` counts the work in flight at any time.

Not thread-safe: device threads that share a scheduler hold a lock around its methods. Counts may be
read without it.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Generic, TypeVar

from adcaptum.engine.scheduling.batch import Batch, Statistics, Update
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.deadlines import Deadlines
from adcaptum.engine.scheduling.fair_queue import FairQueue
from adcaptum.engine.scheduling.job import Job, JobSlice, rows_of
from adcaptum.engine.scheduling.ledger import Ledger
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request

P = TypeVar("P")


class _Returned(Generic[P]):
    """Slices of a failed batch that have to run again."""

    __slots__ = ("isolated", "slices")

    def __init__(self, slices: list[JobSlice[P]], *, isolated: bool) -> None:
        self.slices = deque(slices)
        self.isolated = isolated


class _PriorityClass(Generic[P]):
    """The waiting rows of one class: those of failed batches, and the queue behind them."""

    __slots__ = ("queue", "returned")

    def __init__(self, quantum: int) -> None:
        self.queue: FairQueue[P] = FairQueue(quantum)
        self.returned: deque[_Returned[P]] = deque()


class Scheduler(Generic[P]):
    """Divides a device among requests, in batches of rows.

    Args:
        batch_sizer: Chooses the most rows of a batch of each key. It learns from `update`.
        quantum: Rows that are given to a request at once before its competitors have their turn.
            Smaller requests are not cut up; larger ones alternate.

    Attributes:
        ledger: The work in flight, by class and by caller.
    """

    def __init__(self, batch_sizer: BatchSizer, *, quantum: int = 64) -> None:
        if quantum < 1:
            raise ValueError(f"quantum must be at least 1, not {quantum}")
        self.batch_sizer = batch_sizer
        self.waiting_rows = 0
        self.running_rows = 0
        self.ledger = Ledger()
        self._classes: list[_PriorityClass[P]] = [_PriorityClass(quantum) for _ in Priority]
        self._running: dict[int, Batch[P]] = {}
        self._requests: dict[Request, None] = {}
        self._deadlines = Deadlines()
        self._sequence = count(1)
        self._batches = self._added = self._evaluated = self._wasted = self._dropped = 0

    def __len__(self) -> int:
        """Returns the number of requests that have rows waiting or running."""
        return len(self._requests)

    def announce(self, request: Request) -> None:
        """Counts a request as in flight, with the rows that it expects, until it is cancelled.

        Raises:
            ValueError: It was cancelled, or has been announced or added before.
        """
        if request.cancelled or request in self.ledger:
            raise ValueError(f"{request!r} is not new")
        request.announced = True
        self.ledger.open(request)

    def add(self, request: Request, jobs: Sequence[Job[P]]) -> None:
        """Lets the rows of new jobs wait. A request may add jobs as often as it likes.

        Raises:
            ValueError: The request was cancelled, or a job was added before.
        """
        if request.cancelled:
            raise ValueError(f"{request!r} was cancelled")
        for job in jobs:
            if job.added:
                raise ValueError(f"{job!r} was added before")
        if not jobs:
            return
        rows = 0
        backlog = self.ledger.backlogs[request.priority]
        for job in jobs:
            job.added = True
            job.request = request
            rows += job.rows
            backlog.add(job.key, job.rows, self.batch_sizer.line(job.key))
        if request not in self.ledger:
            self.ledger.open(request)
        self.ledger.come(request, rows)
        request.pending_rows += rows
        if request.pending_rows == rows:
            self._requests[request] = None
            self._deadlines.add(request, len(self._requests))
        self._added += rows
        self.waiting_rows += rows
        self._classes[request.priority].queue.add(request, jobs)

    def compact(self) -> None:
        """Forgets the keys of which no rows wait; it has an effect on memory only."""
        for each in self._classes:
            each.queue.compact()

    def schedule(self, now: float) -> Batch[P] | None:
        """Returns the next batch, or None if nothing waits.

        Args:
            now: The time on the caller's clock, in seconds.
        """
        for waiting in self._classes:
            if waiting.returned:
                return self._run_again(waiting.returned, now)
            if waiting.queue:
                key = waiting.queue.leader()
                return self._run(key, self.batch_sizer.rows(key), [], now)
        return None

    def update(
        self,
        batch: Batch[P],
        *,
        seconds: float,
        rows: int | None = None,
        nbytes: int | None = None,
    ) -> Update[P]:
        """Ends a batch that was evaluated.

        Args:
            batch: The batch.
            seconds: The time that it took.
            rows: The number of distinct rows that were evaluated; None: all.
            nbytes: The memory that it took; None: not known.

        Raises:
            ValueError: The batch is not running.
        """
        self._end(batch)
        self.batch_sizer.observe(batch.key, rows or batch.rows, seconds, nbytes)
        line = self.batch_sizer.line(batch.key)
        for backlog in self.ledger.backlogs:
            backlog.price(batch.key, line)
        result: Update[P] = Update([], [])
        evaluated = 0
        for piece in batch.slices:
            job, start, stop = piece
            part = stop - start
            job.done_rows += part
            request = job.request
            request.pending_rows -= part
            if request.cancelled:
                result.wasted.append(piece)
                continue
            evaluated += part
            request.served_rows += part
            self._settle(request, part)
            if job.done_rows == job.rows:
                result.finished.append(job)
        self._evaluated += evaluated
        self._wasted += batch.rows - evaluated
        return result

    def out_of_memory(self, batch: Batch[P]) -> bool:
        """Ends a batch that did not fit in memory: its rows run again in smaller ones.

        Returns:
            False if the batch had but one row, which cannot shrink: the row is dropped, and the
            caller has to cancel its request.

        Raises:
            ValueError: The batch is not running.
        """
        self._end(batch)
        self.batch_sizer.out_of_memory(batch.key, batch.rows)
        if batch.rows == 1:
            self._drop(batch.slices)
            return False
        self._return(batch.slices, isolated=batch.isolated)
        return True

    def split(self, batch: Batch[P]) -> bool:
        """Ends a batch that failed: its rows run again, those of half of the parts at a time.

        Returns:
            False if all rows were of one part of a request, the culprit: they are dropped, and the
            caller has to cancel the request, or to wait no longer for the jobs of that part.

        Raises:
            ValueError: The batch is not running.
        """
        self._end(batch)
        parts = batch.parts
        if len(parts) == 1:
            self._drop(batch.slices)
            return False
        first = set(parts[: (len(parts) + 1) // 2])
        halves: tuple[list[JobSlice[P]], list[JobSlice[P]]] = ([], [])
        for piece in batch.slices:
            halves[(piece.job.request, piece.job.part) not in first].append(piece)
        for half in reversed(halves):
            self._return(half, isolated=True)
        return True

    def cancel(self, request: Request) -> int:
        """Gives a request nothing more; returns how many waiting rows were dropped.

        Also ends a request that needs no more; one that was announced is in flight until then.
        A second call does nothing.
        """
        if request.cancelled:
            return 0
        request.cancelled = True
        dropped = self._drop_waiting(request, lambda _: False)
        self.ledger.close(request)
        self._requests.pop(request, None)
        request.pending_rows -= dropped
        return dropped

    def give_up(self, request: Request, part: Hashable) -> int:
        """Drops the waiting rows of a part of a request; returns how many there were."""
        dropped = self._drop_waiting(request, lambda job: job.part != part)
        request.pending_rows -= dropped
        if dropped and not request.cancelled:
            self._settle(request, dropped)
        return dropped

    def expired(self, now: float) -> list[Request]:
        """Returns the requests with rows pending whose deadline has passed, each once.

        They are served on until the caller cancels them.
        """
        return self._deadlines.passed(now)

    def statistics(self) -> Statistics:
        """Returns counts of rows and batches since the start."""
        return Statistics(
            requests=len(self._requests),
            waiting_rows=self.waiting_rows,
            running_rows=self.running_rows,
            running_batches=len(self._running),
            added_rows=self._added,
            evaluated_rows=self._evaluated,
            wasted_rows=self._wasted,
            dropped_rows=self._dropped,
            batches=self._batches,
        )

    def _settle(self, request: Request, rows: int) -> None:
        """Counts rows of a request that is not cancelled as pending no more."""
        self.ledger.count(request, -rows)
        if not request.pending_rows:
            del self._requests[request]
            if not request.announced:
                self.ledger.close(request)

    def _run_again(self, returned: deque[_Returned[P]], now: float) -> Batch[P]:
        group = returned[0]
        key = group.slices[0].job.key
        capacity = room = self.batch_sizer.rows(key)
        slices: list[JobSlice[P]] = []
        while room and group.slices:
            job, start, stop = group.slices[0]
            middle = min(stop, start + room)
            slices.append(JobSlice(job, start, middle))
            room -= middle - start
            job.request.returned_rows -= middle - start
            if middle == stop:
                group.slices.popleft()
            else:
                group.slices[0] = JobSlice(job, middle, stop)
        if not group.slices:
            returned.popleft()
        priority = slices[0].job.request.priority
        self.ledger.backlogs[priority].remove(key, capacity - room)
        return self._run(key, capacity, slices, now, isolated=group.isolated)

    def _run(
        self,
        key: Hashable,
        capacity: int,
        slices: list[JobSlice[P]],
        now: float,
        *,
        isolated: bool = False,
    ) -> Batch[P]:
        """Fills up a batch, and gives it out."""
        rows = rows_of(slices)
        if not isolated:
            for waiting, backlog in zip(self._classes, self.ledger.backlogs, strict=True):
                if rows < capacity and waiting.queue:
                    more = waiting.queue.take(key, capacity - rows, capacity)
                    if more:
                        taken = rows_of(more)
                        backlog.remove(key, taken)
                        rows += taken
                        slices += more
        for piece in slices:
            request = piece.job.request
            if request.scheduled_at is None:
                request.scheduled_at = now
        batch = Batch(next(self._sequence), key, slices, rows, capacity, isolated)
        self._running[batch.sequence] = batch
        self._batches += 1
        self.waiting_rows -= rows
        self.running_rows += rows
        return batch

    def _end(self, batch: Batch[P]) -> None:
        if self._running.pop(batch.sequence, None) is not batch:
            raise ValueError(f"batch {batch.sequence} is not running")
        self.running_rows -= batch.rows

    def _drop(self, slices: Sequence[JobSlice[P]]) -> None:
        """Counts rows that were running and will not run again."""
        for job, start, stop in slices:
            request = job.request
            self._dropped += stop - start
            request.pending_rows -= stop - start
            if not request.cancelled:
                self._settle(request, stop - start)

    def _return(self, slices: Sequence[JobSlice[P]], *, isolated: bool) -> None:
        """Puts slices in front of all that waits, without those of cancelled requests."""
        self._drop([piece for piece in slices if piece.job.request.cancelled])
        for priority, waiting in zip(Priority, self._classes, strict=True):
            own = [
                piece
                for piece in slices
                if piece.job.request.priority is priority and not piece.job.request.cancelled
            ]
            if own:
                waiting.returned.appendleft(_Returned(own, isolated=isolated))
                key, rows = own[0].job.key, rows_of(own)
                self.ledger.backlogs[priority].add(key, rows, self.batch_sizer.line(key))
                self.waiting_rows += rows
                for job, start, stop in own:
                    job.request.returned_rows += stop - start

    def _drop_waiting(self, request: Request, wanted: Callable[[Job[P]], bool]) -> int:
        """Drops waiting rows of a request; returns how many there were.

        Args:
            request: The request.
            wanted: Returns whether the rows of a job wait on.
        """
        waiting = self._classes[request.priority]
        backlog = self.ledger.backlogs[request.priority]
        dropped = waiting.queue.drop(request, wanted)
        for group in waiting.returned if request.returned_rows else ():
            kept = [p for p in group.slices if p.job.request is not request or wanted(p.job)]
            rows = rows_of([*group.slices]) - rows_of(kept)
            if rows:
                dropped.append((group.slices[0].job.key, rows))
                request.returned_rows -= rows
                group.slices = deque(kept)
        waiting.returned = deque(group for group in waiting.returned if group.slices)
        for key, rows in dropped:
            backlog.remove(key, rows)
        total = sum([rows for _, rows in dropped])
        self.waiting_rows -= total
        self._dropped += total
        return total
