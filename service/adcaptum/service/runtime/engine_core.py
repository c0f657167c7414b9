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
from adcaptum.engine.scheduling.ledger import Ledger
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.service.device.batch_cost import BatchCost
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.device.float32 import evaluate
from adcaptum.service.device.host_copies import in_memory
from adcaptum.service.device.intra_op import IntraOp
from adcaptum.service.device.streams import HERE, Stream
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import Journal
from adcaptum.service.runtime.batch_metrics import BatchMetrics
from adcaptum.service.runtime.batch_sizes import BatchSizes, batch_kind
from adcaptum.service.runtime.equal_rows import EqualRows, EqualRowsByModel
from adcaptum.service.runtime.job_payload import EngineJob, JobPayload, jobs_of
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.step import Arrivals, EngineBatch, RunningBatches, Step, Stop
from adcaptum.service.runtime.step_queue import StepQueue
from adcaptum.service.runtime.timing.pace import Pace
from adcaptum.service.runtime.work import RunningFlow, Work

PROGRESS_SECONDS: Final = 0.1
"""The shortest time between two notices of a work's progress."""


class EngineCore:
    """The scheduler of one lane and the steps that it orders; any thread may take a step.

    Attributes:
        sizes: The sizes of batches, and the time of rows.
        running: The batches that models evaluate now.
        pace: The ratio of the steps' wall time to their computation.
        intra_op: The threads inside the operations of a batch.
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
        self.intra_op = IntraOp()
        self._condition = threading.Condition(threading.Lock())
        self._scheduler: Scheduler[JobPayload] = Scheduler(self.sizes.sizer)
        self.queue = StepQueue(self._condition, self._scheduler, self._pause_seconds)
        self._device = device
        self._batch_metrics = BatchMetrics(metrics, device)
        self._memory = BatchMemory.of(device)
        self._cost = BatchCost(device)
        self._deliver = notify
        self._planning = planning
        self._equal_rows = EqualRowsByModel(device)

    @property
    def waiting_rows(self) -> int:
        """The number of rows that wait; readable from any thread."""
        return self._scheduler.waiting_rows

    @property
    def ledger(self) -> Ledger:
        """The accounts of works in flight; readable from any thread."""
        return self._scheduler.ledger

    @property
    def _is_idle(self) -> bool:
        """True if the calling thread's batch has the device to itself."""
        return not (self.running or self.queue.has_work)

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

    def _pause_seconds(self, arrived: Arrivals) -> float:
        return arrived.wait(self.sizes, busy=bool(self.running))

    def _process(self, batch: EngineBatch, stream: Stream) -> float:
        """Evaluates a batch and advances the flows that it completes.

        Returns:
            The computation of the batch, in seconds; 0 if it failed.
        """
        kind, alone = batch_kind(batch.key), self._is_idle and not _is_deterministic(batch)
        threads = self.intra_op.begin(kind, batch.rows, alone=alone)
        ended, begin, cost_of = list[Work](), monotonic(), self._cost.begin()
        works = list(dict.fromkeys([piece.job.payload.work for piece in batch.slices]))
        model = works[0].model
        row_seconds = self.sizes.row_seconds(batch.key)
        equal_rows = self._equal_rows.search(model, row_seconds, batch.rows)
        for work in works:
            work.computing.begin(begin)
        begun = self._memory.begin()
        parts = self._evaluate(model, batch, equal_rows, ended, stream)
        nbytes, end, cost = self._memory.end(begun), monotonic(), cost_of()
        for work in works:
            work.computing.end(end)
        if parts is None:
            self._notify(ended, [])
            return 0.0
        alone = alone and self._is_idle
        self._batch_metrics.busy(cost)
        cost *= self.intra_op.end(kind, batch.rows, threads, end - begin, alone=alone)
        self._add_parts(batch, parts, ended)
        with self._condition:
            rows = batch.rows if equal_rows is None else equal_rows.rows
            update = self._scheduler.update(batch, seconds=cost, rows=rows, nbytes=nbytes)
        members = sum([work.request.members for work in works])
        self._batch_metrics.observe(model, batch, update, members, end - begin)
        advanced = []
        for work in works:
            work.batches += 1
            if work.progressed is not None and begin - work.reported > PROGRESS_SECONDS:
                work.reported = begin
                advanced.append(work)
        finished = [job.payload for job in update.finished]
        self._step_all([(payload.work, payload.flow) for payload in finished], ended)
        self._notify(ended, advanced)
        return cost

    def _evaluate(
        self,
        model: ServedModel,
        batch: EngineBatch,
        equal_rows: EqualRows | None,
        ended: list[Work],
        stream: Stream,
    ) -> list[Part] | None:
        """Evaluates a batch; None if it failed.

        Raises:
            RuntimeError: The device is of no use to this process any more. The batch counts as
                running, so that the journal keeps whose rows did it.
        """
        parts: list[Part] | None = None
        pieces = [job.payload.slice(start, stop) for job, start, stop in batch.slices]
        self.running.begin(model, batch, self.sizes.row_seconds(batch.key))
        try:
            module = model.module(pieces[0].evaluation)
            run = partial(evaluate, module, pieces, deduplicate=equal_rows, memory=model.references)
            parts = stream.run(run)
        except Exception as error:
            if is_lasting(error):
                raise
            end = self._scheduler.split
            if is_out_of_memory(error):
                self._batch_metrics.out_of_memory(model)
                end = self._scheduler.out_of_memory
            self._fail(batch, error, end, ended)
        self.running.end()
        return parts

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
            paused = self._step(work, flow, jobs, ended)
            while paused:
                paused += self._step(work, paused.pop(), jobs, ended)
        self._add_jobs(jobs)

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


def _is_deterministic(batch: EngineBatch) -> bool:
    return batch.slices[0].job.payload.work.forward_rows is not None
