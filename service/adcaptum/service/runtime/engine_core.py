"""What is done in a turn: stop works, begin works, evaluate a batch, go on with its flows.

Rules:
1. `condition` guards the scheduler and the inboxes, and is held for bookkeeping only, never while a
   model or a flow runs. Lock order: a work's lock, then `condition`, never the other way round.
2. Flows are touched in turns only, under their work's lock.
3. The parts of a batch are handed to their evaluations before the scheduler learns that the batch
   has ended, so that whoever sees a job finished sees all of its parts.
4. The event loop is told once a batch, with all that it brought.
5. Deadlines and cancellations are looked at between batches.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Final, NamedTuple, cast

import torch

from adcaptum.engine.execution.clock import batch_clock
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import Part
from adcaptum.engine.rows.distinct import Distinct, Duplicates
from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.engine.vocabulary.attribution import StopReason
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.device.streams import HERE, Stream
from adcaptum.service.errors import Cancelled, DeadlineExceeded
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.batch_metrics import BatchMetrics
from adcaptum.service.runtime.work import EngineJob, EngineKey, JobPayload, Running, Work

NEWS_SECONDS: Final = 0.1
"""How often at most a stream is told of a work under way."""

MEMORY_SHARE: Final = 0.8
"""How much of the memory that an accelerator has left batches may take."""

MOST_ROWS: Final = 4096
"""The most rows in a batch, whatever a device could hold."""


class Step(NamedTuple):
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
    batch: Batch[JobPayload] | None


class _Look:
    """Looks for equal rows in one batch.

    Attributes:
        rows: How many rows are evaluated.
    """

    __slots__ = ("_duplicates", "_row_seconds", "rows")

    def __init__(self, duplicates: Duplicates, row_seconds: float, rows: int) -> None:
        self._duplicates = duplicates
        self._row_seconds = row_seconds
        self.rows = rows

    def __call__(self, tensors: Sequence[torch.Tensor]) -> Distinct | None:
        found = self._duplicates.look(tensors, self._row_seconds)
        if found is not None:
            self.rows = len(found.rows[0])
        return found


class EngineCore:
    """Takes turns, for whoever has the time: device threads, or the event loop.

    Attributes:
        batch_sizer: Chooses the rows of a batch.
        condition: Guards what follows; device threads wait for it.
        scheduler: Divides the device among the works.
        inbox: Works to begin.
        cancelled: Works that nobody wants any more, and why.
    """

    def __init__(
        self,
        device: torch.device,
        metrics: Metrics,
        *,
        target_batch_seconds: float,
        tell: Callable[[Sequence[Work], Sequence[Work]], None],
    ) -> None:
        """Prepares them.

        Args:
            device: Where models are.
            metrics: What to count.
            target_batch_seconds: How long a batch may take.
            tell: Tells the event loop of works that have ended, and of works that have news.
        """
        self.batch_sizer = BatchSizer(
            target_seconds=target_batch_seconds, max_rows=_most_rows, kind=batch_kind
        )
        self.condition = threading.Condition(threading.Lock())
        self.scheduler: Scheduler[JobPayload] = Scheduler(self.batch_sizer)
        self.inbox: deque[Work] = deque()
        self.cancelled: deque[tuple[Work, str]] = deque()
        self._device = device
        self._metrics = metrics
        self._batch_metrics = BatchMetrics(metrics, device)
        self._memory = BatchMemory.of(device)
        self._tell = tell
        self._duplicates: dict[ServedModel, Duplicates] = {}

    def measure_memory(self, threads: int) -> None:
        """Has batches bounded by the memory that the device has left, where it tells.

        Args:
            threads: How many batches will share it.
        """
        if self._device.type == "cuda":
            # What is kept for the default stream is of no use to batches, which have their own.
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info(self._device)
            self.batch_sizer.memory_bytes = MEMORY_SHARE * free / max(1, threads)

    def take(self) -> Step:
        """Takes what there is to do. Holds the condition."""
        arrived, cancelled = [*self.inbox], [*self.cancelled]
        self.inbox.clear()
        self.cancelled.clear()
        now = monotonic()
        overdue = [_work(request) for request in self.scheduler.expired(now)]
        expired = [work for work in overdue if work.expires]
        batch = None if arrived else self.scheduler.schedule(now)
        return Step(arrived, expired, cancelled, batch)

    def run(self, taken: Step, stream: Stream = HERE) -> None:
        """Does what was taken, and runs its batch where it is told."""
        arrived, expired, cancelled, batch = taken
        ended = self._stop_works(expired, cancelled)
        steps: list[tuple[Work, Running | None]] = [(work, None) for work in arrived]
        if arrived:
            # Who has just arrived shall share the next batch: once, or a flood would hold it up.
            self._step_all(steps, ended)
            with self.condition:
                batch = self.scheduler.schedule(monotonic())
                if self.scheduler.waiting_rows:
                    self.condition.notify()
        if ended:
            self._tell(ended, [])
        if batch is not None:
            self._process(batch, stream)

    def left(self) -> list[EngineJob]:
        """The jobs that wait when the threads have ended."""
        left = []
        while (batch := self.scheduler.schedule(monotonic())) is not None:
            left += [piece.job for piece in batch.slices]
            self.scheduler.update(batch, seconds=1.0)
        return left

    def _process(self, batch: Batch[JobPayload], stream: Stream) -> None:
        """Evaluates a batch and goes on with the flows that it completes."""
        ended: list[Work] = []
        begin, clock = monotonic(), batch_clock(self._device)
        cost = clock()
        works = dict.fromkeys([piece.job.payload.running.work for piece in batch.slices])
        model = batch.slices[0].job.payload.running.work.model
        for work in works:
            work.computing.begin(begin)
        look = self._look(model, batch)
        begun = self._memory.begin()
        parts = self._evaluate(batch, look, ended, stream)
        nbytes = self._memory.end(begun)
        end = monotonic()
        for work in works:
            work.computing.end(end)
        if parts is None:
            self._tell(ended, [])
            return
        seconds, cost = end - begin, clock() - cost
        for (job, start, stop), part in zip(batch.slices, parts, strict=True):
            work = job.payload.running.work
            with work.lock:
                if not work.ended:
                    job.payload.add(start, stop, part)
                    work.rows_done += stop - start
        with self.condition:
            rows = batch.rows if look is None else look.rows
            update = self.scheduler.update(batch, seconds=cost, rows=rows, nbytes=nbytes)
        for piece in update.wasted:
            work = piece.job.payload.running.work
            reason = work.cancel_reason or "cancelled"
            self._metrics.wasted_rows.labels(model.name, reason).inc(piece.stop - piece.start)
        self._batch_metrics.observe(model, batch, len(works), seconds)
        news = []
        for work in works:
            work.batches += 1
            if work.progressed is not None and begin - work.reported > NEWS_SECONDS:
                work.reported = begin
                news.append(work)
        finished = [job.payload.running for job in update.finished]
        self._step_all([(running.work, running) for running in finished], ended)
        self._tell(ended, news)

    def _look(self, model: ServedModel, batch: Batch[JobPayload]) -> "_Look | None":
        """What finds equal rows in a batch, where they may be evaluated once."""
        if not model.checks.independent:
            return None
        duplicates = self._duplicates.get(model)
        if duplicates is None:
            duplicates = self._duplicates[model] = Duplicates(batch_clock(self._device))
        return _Look(duplicates, self.batch_sizer.line(batch.key).row, batch.rows)

    def _evaluate(
        self, batch: Batch[JobPayload], look: "_Look | None", ended: list[Work], stream: Stream
    ) -> list[Part] | None:
        """Evaluates a batch; None if it failed."""
        model = batch.slices[0].job.payload.running.work.model
        pieces = [job.payload.slice(a, b) for job, a, b in batch.slices]
        try:
            module = model.module(pieces[0].evaluation)
            run = partial(evaluate, module, pieces, look=look, memory=model.references)
            parts = stream.run(run)
        except torch.OutOfMemoryError as error:
            self._metrics.out_of_memory.labels(model.name).inc()
            self._fail(batch, error, self.scheduler.out_of_memory, ended)
        except Exception as error:  # noqa: BLE001  # it is the culprit's answer
            self._fail(batch, error, self.scheduler.split, ended)
        else:
            return parts
        return None

    def _step_all(self, steps: Sequence[tuple[Work, Running | None]], ended: list[Work]) -> None:
        """Begins works, or goes on with their flows, and has the rows that they ask for wait."""
        jobs: list[tuple[Request, list[EngineJob]]] = []
        for work, running in steps:
            self._step(work, running, jobs, ended)
        with self.condition:
            for request, more in jobs:
                # It may have been cancelled since.
                if not request.cancelled:
                    self.scheduler.add(request, more)

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
        batch: Batch[JobPayload],
        error: Exception,
        end: Callable[[Batch[JobPayload]], bool],
        ended: list[Work],
    ) -> None:
        """Runs the rows of a failed batch again by themselves, or fails the request they are of."""
        with self.condition:
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
        if work.recall is not None and work.recall.rows:
            self._metrics.known_rows.labels(work.model.name).inc(work.recall.rows)
        with self.condition:
            self.scheduler.cancel(work.request)
        if waste and work.request.served_rows:
            self._metrics.wasted_rows.labels(work.model.name, waste).inc(work.request.served_rows)


def batch_kind(key: Hashable) -> Hashable:
    """Returns what keys have in common whose rows cost alike: the model, with gradients or not."""
    model, evaluation_key = cast("EngineKey", key)
    return model, evaluation_key[0]


def _most_rows(key: Hashable) -> int:
    model, _ = cast("EngineKey", key)
    return MOST_ROWS if model.checks.independent else 1


def _work(request: Request) -> Work:
    return cast("Work", request.name)
