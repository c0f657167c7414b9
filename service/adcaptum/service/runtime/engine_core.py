"""The engine core: steps that stop works, begin works, evaluate a batch, and advance its flows.

Rules:
1. `_condition` guards the scheduler and the queue of steps. It is held for
   bookkeeping only, never while a model or a flow runs. Lock order: a work's lock, then
   `_condition`, never the other way round.
2. Flows run in steps only, under their work's lock. Flows of works that plan apart
   (`Cost.plans_apart`) run in planning threads only; no other thread takes these works' locks.
3. A step adds the results of a batch to their evaluations before the scheduler learns that the
   batch has ended: a finished job has all of its results. For works that plan apart the order of
   their tasks ensures the same.
4. A step notifies the event loop once per batch.
5. Steps handle deadlines and cancellations between batches.
6. An exception of a model, or of adding its results, fails its request and nothing else: the
   evaluator turns `SystemExit` and `KeyboardInterrupt` into errors. An error after which the device
   answers no more is raised: it ends the process.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Final

import torch

from adcaptum.engine.execution.devices.device_errors import is_lasting, is_out_of_memory
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.scheduling.batch import Batch, Update
from adcaptum.engine.scheduling.job import JobSlice
from adcaptum.engine.scheduling.ledger import Ledger
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.service.device.host_copies import in_memory
from adcaptum.service.device.streams import HERE, Stream
from adcaptum.service.metrics import Metrics
from adcaptum.service.processes.journal import Journal
from adcaptum.service.runtime.batch_sizes import BatchSizes
from adcaptum.service.runtime.batches.batch_evaluator import BatchEvaluator, Evaluated
from adcaptum.service.runtime.batches.batch_metrics import BatchMetrics
from adcaptum.service.runtime.job_payload import EngineJob, JobPayload, by_key, jobs_of
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.step import (
    EngineBatch,
    EngineUpdate,
    RunningBatches,
    Step,
    Stop,
    works_of,
)
from adcaptum.service.runtime.step_queue import StepQueue
from adcaptum.service.runtime.timing.pace import Pace
from adcaptum.service.runtime.work import RunningFlow, Work

PROGRESS_SECONDS: Final = 0.1
"""The shortest time between two notices of a work's progress."""

ALONE_SECONDS: Final = 0.002
"""The time after which a lone work queues for further batches: it holds up the event loop."""

LEARNING: Final = 8
"""Of so many batches of works that run alone, one is a measurement."""

NO_UPDATE: Final[EngineUpdate] = Update([], [])


class EngineCore:
    """The scheduler of one lane and the steps that it orders; any thread may take a step.

    Attributes:
        sizes: The sizes of batches, and the time of rows.
        running: The batches that models evaluate now.
        pace: The ratio of the steps' wall time to their computation.
        evaluator: Evaluates batches.
        queue: The steps that are to be taken.
    """

    def __init__(
        self,
        device: torch.device,
        metrics: Metrics,
        *,
        target_batch_seconds: float,
        notify: Callable[[Sequence[Work], Sequence[Work]], None],
        planning: PlanningThreads,
        journal: Journal | None = None,
    ) -> None:
        """Prepares the core.

        Args:
            device: The device of the models.
            metrics: The counters of batches.
            target_batch_seconds: The longest time of a batch.
            notify: Notifies the event loop of ended works, and of works that have advanced.
            planning: The threads for works that plan apart.
            journal: Where batches are noted while they run; None: nowhere.
        """
        self.sizes = BatchSizes(device, target_batch_seconds)
        self.running = RunningBatches(journal)
        self.pace = Pace()
        self._condition = threading.Condition(threading.Lock())
        self._scheduler: Scheduler[JobPayload] = Scheduler(self.sizes.sizer)
        self.queue = StepQueue(self._condition, self._scheduler)
        self._batch_metrics = BatchMetrics(metrics, device)
        self._device = device
        self._deliver = notify
        self._planning = planning
        self.evaluator = BatchEvaluator(device, self.sizes, self.running)
        self._lone_batches = 0

    @property
    def waiting_rows(self) -> int:
        """The number of rows that wait; readable from any thread."""
        return self._scheduler.waiting_rows

    @property
    def ledger(self) -> Ledger:
        """The accounts of works in flight; readable from any thread."""
        return self._scheduler.ledger

    def step(self, step: Step, stream: Stream = HERE) -> EngineBatch | None:
        """Executes a step: ends works, begins works, and evaluates a batch on a stream.

        Returns:
            The batch that was evaluated.
        """
        begin, ended = monotonic(), list[Work]()
        for stop in step.stops:
            if stop.work.cost.plans_apart:
                self._planning.put(stop.work, partial(self._stop_apart, stop))
            else:
                self._stop(stop, ended)
        batch = step.batch
        if step.arrived:
            # New works share the next batch. Later or slow ones would delay it for ever.
            beginning = self.queue.beginning(step.arrived)
            self._step_all(((work, None) for work in beginning), ended)
            with self._condition:
                batch = self._scheduler.schedule(monotonic())
                if self._scheduler.waiting_rows:
                    self._condition.notify()
        self._notify(ended, [])
        if batch is not None:
            cost = self._process(batch, stream)
            self.pace.observe(begin, monotonic(), cost, more=self.queue.has_work)
        return batch

    def _notify(self, ended: Sequence[Work], advanced: Sequence[Work]) -> None:
        """Notifies the event loop, which finds all numbers in the processor's memory."""
        if self._device.type != "cpu":
            results = in_memory([work.results for work in ended])
            for work, own in zip(ended, results, strict=True):
                work.results = own
            for work in advanced:
                work.to_memory()
        self._deliver(ended, advanced)

    def _process(self, batch: EngineBatch, stream: Stream) -> float:
        """Evaluates a batch and advances the flows that it completes.

        Returns:
            The computation of the batch, in seconds; 0 if it failed.
        """
        works, ended = works_of(batch), list[Work]()
        try:
            done = self.evaluator.evaluate(batch, works, stream)
        except Exception as error:
            if is_lasting(error):
                raise
            end = self._scheduler.split
            if is_out_of_memory(error):
                self._batch_metrics.out_of_memory(works[0].model)
                end = self._scheduler.out_of_memory
            self._fail(batch, error, end, ended)
            self._notify(ended, [])
            return 0.0
        self._add_parts(batch, done.parts, ended)
        with self._condition:
            update = self._scheduler.update(
                batch, seconds=done.cost, rows=done.rows, nbytes=done.nbytes
            )
        advanced = self._count(batch, works, update, done)
        finished = [job.payload for job in update.finished]
        self._step_all([(payload.work, payload.flow) for payload in finished], ended)
        self._notify(ended, advanced)
        # Threads of an accelerator share its time, which is their cost: that is not a slow pace.
        return done.cost if self._device.type == "cpu" else done.seconds

    def _count(
        self, batch: EngineBatch, works: Sequence[Work], update: EngineUpdate, done: Evaluated
    ) -> list[Work]:
        """Counts a batch that was evaluated; returns the works whose progress is to be told."""
        members = sum([work.request.members for work in works])
        self._batch_metrics.busy(done.cost)
        self._batch_metrics.observe(works[0].model, batch, update, members, done.seconds)
        told = []
        for work in works:
            work.batches += 1
            if work.progressed is not None and done.begin - work.reported > PROGRESS_SECONDS:
                work.reported = done.begin
                told.append(work)
        return told

    def run_alone(self, work: Work) -> EngineBatch | None:
        """Begins a work beside which no rows wait, and runs it; returns the batch evaluated last.

        Its rows need no queue to have their turn. What takes long, does not fit into one batch, or
        fails is queued, and further steps go on with it.
        """
        ended, last, end = list[Work](), None, monotonic() + ALONE_SECONDS
        flows, advanced = list[RunningFlow | None]([None]), list[Work]()
        while flows:
            jobs: list[tuple[Request, list[EngineJob]]] = []
            for flow in flows:
                self._step_on(work, flow, jobs, ended)
            self._notify([], advanced)
            flows, advanced = [], []
            for own in by_key([job for _, each in jobs for job in each]):
                batch = self._whole_batch(work, own) if monotonic() < end else None
                told = None if batch is None else self._process_alone(batch, ended)
                if told is None:
                    self._add_jobs([(work.request, own)])
                    continue
                last, advanced = batch, advanced + told
                flows += [job.payload.flow for job in own]
        self._notify(ended, [])
        return last

    def _whole_batch(self, work: Work, jobs: Sequence[EngineJob]) -> EngineBatch | None:
        """Returns the batch of all rows of some jobs; None if they do not fit into one."""
        key, request = jobs[0].key, work.request
        rows, most = sum([job.rows for job in jobs]), self.sizes.sizer.rows(key)
        if rows > most:
            return None
        if request.scheduled_at is None:
            request.scheduled_at = monotonic()
        for job in jobs:
            job.request = request
        return Batch(0, key, [JobSlice(job, 0, job.rows) for job in jobs], rows, most, False)

    def _process_alone(self, batch: EngineBatch, ended: list[Work]) -> list[Work] | None:
        """Evaluates a batch of one work without the scheduler; None if it failed; see `_count`."""
        work = works_of(batch)[0]
        try:
            done = self.evaluator.evaluate(batch, [work], HERE)
        except Exception as error:
            if is_lasting(error):
                raise
            return None  # the next steps evaluate it again, and find the culprit
        self._add_parts(batch, done.parts, ended)
        self._lone_batches += 1
        if self._lone_batches % LEARNING == 0:
            self.sizes.sizer.observe(batch.key, done.rows, done.cost)
        work.request.served_rows += batch.rows
        return self._count(batch, [work], NO_UPDATE, done)

    def _add_parts(self, batch: EngineBatch, parts: Sequence[Part], ended: list[Work]) -> None:
        """Adds the results of a batch to their evaluations."""
        for (job, start, stop), part in zip(batch.slices, parts, strict=True):
            add = partial(job.payload.add_or_fail, start, stop, part)
            if job.payload.work.cost.plans_apart:
                self._planning.put(job.payload.work, partial(add, self._fail_apart))
            else:
                add(partial(self._fail_flow, ended=ended))

    def _step_all(
        self, steps: Iterable[tuple[Work, RunningFlow | None]], ended: list[Work]
    ) -> None:
        """Begins works, or advances their flows, and queues the rows that they ask for."""
        jobs: list[tuple[Request, list[EngineJob]]] = []
        for work, flow in steps:
            if work.cost.plans_apart:
                self._planning.put(work, partial(self._step_apart, work, flow))
                continue
            self._step_on(work, flow, jobs, ended)
        self._add_jobs(jobs)

    def _step_on(
        self,
        work: Work,
        flow: RunningFlow | None,
        jobs: list[tuple[Request, list[EngineJob]]],
        ended: list[Work],
    ) -> None:
        """Begins a work, or advances its flow; those that pause go on at once."""
        paused = self._step(work, flow, jobs, ended)
        while paused:
            paused += self._step(work, paused.pop(), jobs, ended)

    def _step_apart(self, work: Work, flow: RunningFlow | None) -> None:
        """Does the same for a work that plans apart; runs in a planning thread."""
        jobs, ended = list[tuple[Request, list[EngineJob]]](), list[Work]()
        for paused in self._step(work, flow, jobs, ended):
            self._planning.put(work, partial(self._step_apart, work, paused))
        self._add_jobs(jobs)
        self._notify(ended, [])

    def _step(
        self,
        work: Work,
        flow: RunningFlow | None,
        jobs: list[tuple[Request, list[EngineJob]]],
        ended: list[Work],
    ) -> list[RunningFlow]:
        """Begins a work, or advances a flow of which one more evaluation is complete.

        Returns:
            The flows that have paused.
        """
        with work.lock:
            if work.ended or work.request.cancelled:
                return []
            try:
                if flow is None:
                    waiting = work.start()
                else:
                    flow.outstanding -= 1
                    if flow.outstanding > 0 or flow.error is not None:
                        return []
                    waiting = work.advance(flow)
            except Exception as error:  # noqa: BLE001  # it is the request's answer
                work.fail(error)
                waiting = []
            self._conclude(work, flow, ended)
            if waiting:
                jobs.append((work.request, [job for each in waiting for job in jobs_of(each)]))
            return [each for each in waiting if not each.outstanding]

    def _add_jobs(self, jobs: Sequence[tuple[Request, list[EngineJob]]]) -> None:
        """Queues rows, except those of works that have been stopped meanwhile."""
        with self._condition:
            for request, more in jobs:
                if not request.cancelled:
                    self._scheduler.add(request, more)
            if jobs:
                self._condition.notify()

    def _fail(
        self,
        batch: EngineBatch,
        error: Exception,
        end: Callable[[EngineBatch], bool],
        ended: list[Work],
    ) -> None:
        """Runs the rows of a failed batch again in smaller ones, or fails their work."""
        with self._condition:
            again = end(batch)
        if again:
            return
        flow = batch.slices[0].job.payload.flow
        if flow.work.cost.plans_apart:
            self._planning.put(flow.work, partial(self._fail_apart, flow, error))
        else:
            self._fail_flow(flow, error, ended)

    def _fail_apart(self, flow: RunningFlow, error: Exception) -> None:
        ended = list[Work]()
        self._fail_flow(flow, error, ended)
        self._notify(ended, [])

    def _fail_flow(self, flow: RunningFlow, error: Exception, ended: list[Work]) -> None:
        work = flow.work
        with work.lock:
            if not work.ended:
                work.fail(error, flow)
                self._conclude(work, flow, ended)

    def _stop_apart(self, stop: Stop) -> None:
        ended = list[Work]()
        self._stop(stop, ended)
        self._notify(ended, [])

    def _stop(self, stop: Stop, ended: list[Work]) -> None:
        with stop.work.lock:
            if not stop.work.ended:
                stop.work.fail(stop.error)
                stop.work.waste = stop.waste
                self._conclude(stop.work, None, ended)

    def _conclude(self, work: Work, flow: RunningFlow | None, ended: list[Work]) -> None:
        """Takes the rows of a work that has ended, or of a part of one, out of the scheduler."""
        if flow is not None and flow.error is not None:
            with self._condition:
                self._scheduler.give_up(work.request, flow.part)
        if not work.ended:
            return
        ended.append(work)
        work.waste = work.waste or ("error" if work.error else "")
        with self._condition:
            self._scheduler.cancel(work.request)
        if work.waste:
            self._batch_metrics.wasted(work.model, work.waste, work.request.served_rows)
