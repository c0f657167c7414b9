"""What schedules, evaluates, and goes on with the flows: device threads, or the event loop itself.

Rules:
1. `_condition` guards the scheduler and the inboxes, and is held for bookkeeping only, never while
   a model or a flow runs. Lock order: a work's lock, then `_condition`, never the other way round.
2. Flows are touched by device threads only, under their work's lock.
3. The parts of a batch are handed to their evaluations before the scheduler learns that the batch
   has ended, so that whoever sees a job finished sees all of its parts.
4. The event loop is woken once a batch, with all that it brought.
5. Deadlines and cancellations are looked at between batches.
6. A loop without threads takes its turns in the event loop, one batch a turn, and lets it breathe
   in between.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Final, NamedTuple, cast

import torch

from adcaptum.engine.attribution import StopReason
from adcaptum.engine.capacity import Capacity
from adcaptum.engine.evaluator import evaluate
from adcaptum.engine.packing import Part, Slice
from adcaptum.engine.scheduler import Batch, Request, Scheduler
from adcaptum.service import logs
from adcaptum.service.batch_metrics import BatchMetrics
from adcaptum.service.errors import Cancelled, DeadlineExceeded
from adcaptum.service.metrics import Metrics
from adcaptum.service.served_model import ServedModel
from adcaptum.service.work import Asked, EngineJob, EngineKey, Running, Work

NEWS_SECONDS: Final = 0.1
"""How often at most a stream is told of a work under way."""

MOST_ROWS: Final = 4096
"""The most rows in a batch, whatever a device could hold."""

PATIENCE: Final = 8
"""For how many passes of the event loop, of some microseconds each, requests that arrive are
awaited.

Without threads, saliency of a small model by 32 callers: 1.05 requests a batch and 960 a second
with 0, 4 a batch and 2,100 a second with 10, no more with 40.
"""

MOST_ARRIVALS: Final = 256
"""How many requests are awaited at most."""


class Taken(NamedTuple):
    """What there is to do in a turn.

    Attributes:
        arrived: Works to begin.
        expired: Works whose deadline has passed.
        cancelled: Works that nobody wants any more, and why.
        batch: Rows to evaluate.
    """

    arrived: list[Work]
    expired: list[Work]
    cancelled: list[tuple[Work, str]]
    batch: Batch[Asked] | None


class EngineLoop:
    """Runs works on one device."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: torch.device,
        metrics: Metrics,
        *,
        target_batch_seconds: float,
        crashed: Callable[[BaseException], None],
        threaded: bool = True,
    ) -> None:
        """Prepares it; `start` starts it.

        Args:
            loop: Where works are awaited.
            device: Where models are.
            metrics: What to count.
            target_batch_seconds: How long a batch may take.
            crashed: Called in the event loop if a turn fails, which is a fault of ours.
            threaded: Whether device threads take the turns, or the event loop does.
        """
        self.device = device
        self.capacity = Capacity(
            target_seconds=target_batch_seconds, max_rows=_most_rows, kind=batch_kind
        )
        self._loop = loop
        self._crashed = crashed
        self._metrics = metrics
        self._batch_metrics = BatchMetrics(metrics, device)
        self._scheduler: Scheduler[Asked] = Scheduler(self.capacity)
        self._condition = threading.Condition(threading.Lock())
        self._inbox: deque[Work] = deque()
        self._cancelled: deque[tuple[Work, str]] = deque()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._threaded = threaded
        self._turn_is_due = False
        self._passes = 0
        self._seen = 0

    @property
    def waiting_rows(self) -> int:
        """How many rows wait; may be read by any thread."""
        return self._scheduler.waiting_rows

    def start(self, threads: int, intra_op_threads: int) -> None:
        """Starts the device threads.

        Args:
            threads: How many.
            intra_op_threads: How many threads PyTorch uses inside an operation of each.
        """
        for index in range(threads):
            thread = threading.Thread(
                target=self._run, args=(intra_op_threads,), name=f"device-{index}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads after their batches; works that are left fail."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        left = {job.request.name: None for job in self._left()}
        ended = [work for work in (*left, *self._inbox) if isinstance(work, Work)]
        for work in ended:
            with work.lock:
                work.fail(Cancelled("the server has stopped"))
        self._tell(ended, [])

    def submit(self, work: Work) -> None:
        """Has a work done. To be called in the event loop."""
        with self._condition:
            self._inbox.append(work)
            self._condition.notify()
        self._wake()

    def cancel(self, work: Work, reason: str) -> None:
        """Has a work stopped; does nothing if it has ended. To be called in the event loop.

        Args:
            work: What to stop.
            reason: For the metrics: `cancelled` or `deadline`.
        """
        with self._condition:
            self._cancelled.append((work, reason))
            # Waiting rows go at once; the flow is closed by a device thread.
            self._scheduler.cancel(work.request)
            self._condition.notify()
        self._wake()

    def _wake(self) -> None:
        """Has the event loop take a turn behind what it has to do, where there are no threads.

        What it has to do already is to read the other requests that have arrived: they share the
        turn.
        """
        if not self._threaded and not self._turn_is_due and not self._stopping:
            self._turn_is_due = True
            self._passes = self._seen = 0
            self._loop.call_soon(self._turn_in_loop)

    def _turn_in_loop(self) -> None:
        """Takes a turn, once no request has arrived for a few passes of the event loop.

        gRPC hands over one request in several passes: who does not stand back finds one request at
        a time, however many there are, and pays for a batch each.
        """
        waiting = len(self._inbox)
        self._passes = self._passes + 1 if waiting == self._seen else 0
        self._seen = waiting
        if 0 < waiting < MOST_ARRIVALS and self._passes < PATIENCE:
            self._loop.call_soon(self._turn_in_loop)
            return
        self._turn_is_due = False
        try:
            with self._condition:
                taken = self._take()
            self._turn(taken)
        except BaseException as error:
            logs.logger().exception("the engine failed")
            self._crashed(error)
            raise
        if self._inbox or self._cancelled or self._scheduler.waiting_rows:
            self._wake()

    def _run(self, intra_op_threads: int) -> None:
        torch.set_num_threads(intra_op_threads)
        try:
            while not self._stopping:
                with self._condition:
                    taken = self._next()
                self._turn(taken)
        except BaseException as error:
            logs.logger().exception("a device thread failed")
            self._loop.call_soon_threadsafe(self._crashed, error)
            raise

    def _turn(self, taken: Taken) -> None:
        """Does what there is to do."""
        arrived, expired, cancelled, batch = taken
        ended = self._stop_works(expired, cancelled)
        steps: list[tuple[Work, Running | None]] = [(work, None) for work in arrived]
        if arrived:
            # Who has just arrived shall share the next batch: once, or a flood would hold it up.
            self._step_all(steps, ended)
            with self._condition:
                batch = self._scheduler.schedule(monotonic())
                if len(self._threads) > 1 and self._scheduler.waiting_rows:
                    self._condition.notify()
        if ended:
            self._tell(ended, [])
        if batch is not None:
            self._process(batch)

    def _next(self) -> Taken:
        """Waits until there is something to do, and takes it. Holds the condition."""
        while True:
            taken = self._take()
            if any(taken) or self._stopping:
                return taken
            self._condition.wait()

    def _take(self) -> Taken:
        """Takes what there is to do. Holds the condition."""
        arrived, cancelled = [*self._inbox], [*self._cancelled]
        self._inbox.clear()
        self._cancelled.clear()
        now = monotonic()
        expired = [_work(request) for request in self._scheduler.expired(now)]
        batch = None if arrived else self._scheduler.schedule(now)
        return Taken(arrived, expired, cancelled, batch)

    def _process(self, batch: Batch[Asked]) -> None:
        """Evaluates a batch and goes on with the flows that it completes."""
        ended: list[Work] = []
        begin = monotonic()
        model = batch.slices[0].job.payload.running.work.model
        parts = self._evaluate(model, batch, ended)
        if parts is None:
            self._tell(ended, [])
            return
        seconds = monotonic() - begin
        for (job, start, stop), part in zip(batch.slices, parts, strict=True):
            work = job.payload.running.work
            with work.lock:
                if not work.ended:
                    job.payload.pending.add(start, stop, part)
                    work.rows_done += stop - start
        with self._condition:
            update = self._scheduler.update(batch, seconds=seconds)
        for piece in update.wasted:
            work = piece.job.payload.running.work
            reason = work.cancel_reason or "cancelled"
            self._metrics.wasted_rows.labels(model.name, reason).inc(piece.stop - piece.start)
        requests = batch.requests
        self._batch_metrics.observe(model, batch, requests, seconds)
        news = []
        for request in requests:
            work = _work(request)
            work.compute_seconds += seconds
            work.batches += 1
            if work.progressed is not None and begin - work.reported > NEWS_SECONDS:
                work.reported = begin
                news.append(work)
        finished = [job.payload.running for job in update.finished]
        self._step_all([(running.work, running) for running in finished], ended)
        self._tell(ended, news)

    def _evaluate(
        self, model: ServedModel, batch: Batch[Asked], ended: list[Work]
    ) -> list[Part] | None:
        """Evaluates a batch; None if it failed."""
        pieces = [Slice(job.payload.pending.evaluation, a, b) for job, a, b in batch.slices]
        try:
            parts = evaluate(model.loaded.module, pieces)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        except torch.OutOfMemoryError as error:
            self._metrics.out_of_memory.labels(model.name).inc()
            self._fail(batch, error, self._scheduler.out_of_memory, ended)
        except Exception as error:  # noqa: BLE001  # it is the culprit's answer
            self._fail(batch, error, self._scheduler.split, ended)
        else:
            return parts
        return None

    def _step_all(self, steps: Sequence[tuple[Work, Running | None]], ended: list[Work]) -> None:
        """Begins works, or goes on with their flows, and has the rows that they ask for wait."""
        jobs: list[tuple[Request, list[EngineJob]]] = []
        for work, running in steps:
            self._step(work, running, jobs, ended)
        with self._condition:
            for request, more in jobs:
                # It may have been cancelled since.
                if not request.cancelled:
                    self._scheduler.add(request, more)

    def _step(
        self,
        work: Work,
        running: Running | None,
        jobs: list[tuple[Request, list[EngineJob]]],
        ended: list[Work],
    ) -> None:
        """Begins a work, or goes on with a flow of which one more evaluation is complete."""
        with work.lock:
            if work.ended:
                return
            try:
                if running is None:
                    more = work.start()
                else:
                    running.outstanding -= 1
                    if running.outstanding:
                        return
                    more = work.advance(running)
            except Exception as error:  # noqa: BLE001  # it is the request's answer
                work.fail(error)
                more = []
            if work.ended:
                ended.append(work)
                self._leave(work, "error" if work.error else "")
            elif more:
                jobs.append((work.request, more))

    def _fail(
        self,
        batch: Batch[Asked],
        error: Exception,
        end: Callable[[Batch[Asked]], bool],
        ended: list[Work],
    ) -> None:
        """Runs the rows of a failed batch again by themselves, or fails the request they are of."""
        with self._condition:
            again = end(batch)
        if again:
            return
        culprit = batch.slices[0].job.payload.running
        work = culprit.work
        with work.lock:
            if not work.ended:
                work.fail(error, culprit)
                ended.append(work)
                self._leave(work, "error")

    def _stop_works(
        self, expired: Sequence[Work], cancelled: Sequence[tuple[Work, str]]
    ) -> list[Work]:
        ended = []
        for work in expired:
            with work.lock:
                if work.ended:
                    continue
                if work.partial and work.stop(StopReason.DEADLINE):
                    self._leave(work, "")
                else:
                    work.fail(DeadlineExceeded("the deadline came before the answer"))
                    self._leave(work, "deadline")
                ended.append(work)
        for work, reason in cancelled:
            with work.lock:
                if not work.ended:
                    work.fail(Cancelled("the caller went away"))
                    self._leave(work, reason)
                    ended.append(work)
        return ended

    def _leave(self, work: Work, waste: str) -> None:
        """Takes what a work that has ended still has in the scheduler; `waste` says why it was."""
        work.cancel_reason = waste
        with self._condition:
            self._scheduler.cancel(work.request)
        if waste and work.request.served_rows:
            self._metrics.wasted_rows.labels(work.model.name, waste).inc(work.request.served_rows)

    def _tell(self, ended: Sequence[Work], news: Sequence[Work]) -> None:
        if not (ended or news):
            return
        if self._threaded:
            self._loop.call_soon_threadsafe(_deliver, ended, news)
        else:
            _deliver(ended, news)

    def _left(self) -> list[EngineJob]:
        """The jobs that wait when the threads have ended."""
        left = []
        while (batch := self._scheduler.schedule(monotonic())) is not None:
            left += [piece.job for piece in batch.slices]
            self._scheduler.update(batch, seconds=1.0)
        return left


def batch_kind(key: Hashable) -> Hashable:
    """Returns what keys have in common whose rows cost alike: the model, with gradients or not."""
    model, evaluation_key = cast("EngineKey", key)
    return model, evaluation_key[0]


def _most_rows(key: Hashable) -> int:
    model, _ = cast("EngineKey", key)
    return MOST_ROWS if model.checks.independent else 1


def _work(request: Request) -> Work:
    return cast("Work", request.name)


def _deliver(ended: Sequence[Work], news: Sequence[Work]) -> None:
    for work in ended:
        if not work.finished.done():
            work.finished.set_result(None)
    for work in news:
        if work.progressed is not None and not work.ended:
            work.progressed()
