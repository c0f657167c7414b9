"""What a request has the engine do.

Rules:
1. The event loop makes a `Work`, submits it, and awaits `finished`; it may ask to cancel it.
2. Everything else is done by device threads, one at a time for each work: whoever touches its flows
   holds its `lock`.
3. A work ends once, with results or with an error, and then all of its flows are closed.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import Part, Pending, RowRange
from adcaptum.engine.scheduling.job import Job
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.vocabulary.attribution import StopReason
from adcaptum.engine.vocabulary.evaluation import FORWARD_ROWS
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.service.device.busy_time import BusyTime
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.row_lookup import RowLookup


@dataclass(frozen=True, slots=True, eq=False)
class PlannedFlow:
    """One flow of a stage.

    Attributes:
        flow: What to run.
        max_rows: How many rows it may use; None: any number.
        about: What it is about, for whoever made the plan.
    """

    flow: Flow[Any]
    max_rows: int | None = None
    about: object = None


class Plan(Protocol):
    """The stages of a work: flows that run side by side, then others that need their results."""

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the flows to begin with."""
        ...

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        """Returns the flows that follow, none at the end, when the ones before gave `results`."""
        ...


@dataclass(slots=True, eq=False)
class Running:
    """A flow of a work under way.

    Attributes:
        work: Whose it is.
        execution: The flow.
        about: What it is about, for whoever made the plan.
        outstanding: How many jobs of its round are not done, and rows that others evaluate.
    """

    work: "Work"
    execution: FlowRun[Any]
    about: object = None
    outstanding: int = 0


class JobPayload:
    """Rows of an evaluation of a flow: the payload of a job.

    Attributes:
        running: The flow.
        pending: The evaluation.
        first: The number in it of the job's first row.
    """

    __slots__ = ("first", "pending", "running")

    def __init__(self, running: Running, pending: Pending, first: int = 0) -> None:
        self.running = running
        self.pending = pending
        self.first = first

    def slice(self, start: int, stop: int) -> RowRange:
        """Returns rows start..stop of the job."""
        return RowRange(self.pending.evaluation, self.first + start, self.first + stop)

    def add(self, start: int, stop: int, part: Part) -> None:
        """Takes what a batch said of rows start..stop of the job."""
        self.pending.add(self.first + start, self.first + stop, part)


EngineJob = Job[JobPayload]
EngineKey = tuple[ServedModel, tuple[Hashable, ...]]
"""The keys of jobs: the model, and what the engine says must be equal."""


class Work:
    """One request's share of the engine.

    Attributes:
        model: What is evaluated.
        plan: What is asked.
        request: As the scheduler knows it.
        arrival: When it was submitted, on the engine's clock, in seconds.
        finished: Set, in the event loop, when it has ended.
        progressed: Called in the event loop when there is news of a work under way; None: no need.
        partial: Whether the best answers so far will do when the deadline comes.
        expires: Whether it is ended at the deadline.
        forward_rows: How many rows each forward of it has at most, beside none of others; None: as
            many as come together.
        recall: Finds the rows that need not be evaluated; None: every row is.
        running: The flows of the current stage.
        results: What they returned, once the work has ended.
        error: Why it failed, if it did.
        computing: When device batches that hold rows of it run.
        batches: How many there were.
        rows_done: How many of its rows have been evaluated.
        reported: When news of it were last sent.
    """

    __slots__ = (
        "arrival",
        "batches",
        "cancel_reason",
        "computing",
        "ended",
        "error",
        "expires",
        "finished",
        "forward_rows",
        "lock",
        "model",
        "partial",
        "plan",
        "progressed",
        "recall",
        "reported",
        "request",
        "results",
        "rows_done",
        "running",
    )  # fmt: skip

    def __init__(
        self,
        model: ServedModel,
        plan: Plan,
        *,
        finished: asyncio.Future[None],
        arrival: float,
        priority: Priority = Priority.INTERACTIVE,
        caller: Hashable = None,
        rows: int = 0,
        seconds: float = 0.0,
        nbytes: int = 0,
        deadline: float | None = None,
        partial: bool = False,
        expires: bool = True,
        deterministic: bool = False,
        recall: RowLookup | None = None,
        progressed: Callable[[], None] | None = None,
    ) -> None:
        """Makes one; `Engines.submit` has it done.

        Args:
            model: What is evaluated.
            plan: What is asked.
            finished: Set when it has ended.
            arrival: When it came, on the monotonic clock, in seconds.
            priority: Its class.
            caller: Who asks; callers share the device evenly, however many requests they send.
                None: somebody by itself.
            rows: How many rows it is expected to take.
            seconds: How long these are expected to take, see `Engines.seconds`.
            nbytes: The memory that it holds until it has ended: inputs, baselines, masks, results.
            deadline: When its answer is due, on the monotonic clock; None for never.
            partial: Whether the best answers so far will do when the deadline comes.
            expires: Whether it is ended at the deadline, which otherwise only says how soon its
                rows are wanted.
            deterministic: Whether its answer has to be the same to the last bit each time, whatever
                shares the device: its rows are evaluated beside no others.
            recall: Finds the rows that need not be evaluated; None: every row is.
            progressed: Called in the event loop when there is news of it; None: no need.
        """
        self.model = model
        self.plan = plan
        self.request = Request(
            self,
            priority=priority,
            caller=caller,
            deadline=deadline,
            rows=rows,
            seconds=seconds,
            nbytes=nbytes,
        )
        self.arrival = arrival
        self.finished = finished
        self.progressed = progressed
        self.partial = partial
        self.expires = expires
        most = FORWARD_ROWS if model.checks.independent else 1
        self.forward_rows = most if deterministic else None
        self.recall = recall
        self.lock = Lock()
        self.running: list[Running] = []
        self.results: list[Any] = []
        self.error: Exception | None = None
        self.ended = False
        self.cancel_reason = ""
        self.computing = BusyTime()
        self.batches = 0
        self.rows_done = 0
        self.reported = 0.0

    @property
    def queue_seconds(self) -> float:
        """From the arrival to the first batch."""
        started = self.request.scheduled_at
        return 0.0 if started is None else max(0.0, started - self.arrival)

    @property
    def compute_seconds(self) -> float:
        """How long device batches with rows of it have run; those side by side count once."""
        return self.computing.seconds

    def start(self) -> list[EngineJob]:
        """Begins the first stage; returns its jobs."""
        return self._begin(self.plan.first())

    def advance(self, running: Running) -> list[EngineJob]:
        """Goes on with a flow whose round is complete; returns the jobs that follow."""
        ready, jobs = [running], []
        while ready:
            each = ready.pop()
            if self.recall is not None:
                ready += self.recall.complete(each)
            each.execution.advance()
            jobs += self._jobs(each)
        return self._settle(jobs)

    def fail(self, error: Exception, culprit: Running | None = None) -> None:
        """Ends the work with an error, which is thrown into the flow that asked for it."""
        if self.ended:
            return
        if culprit is not None:
            try:
                culprit.execution.fail(error)
            except Exception as raised:  # noqa: BLE001  # whatever the flow makes of it is the answer
                error = raised
        self.error = error
        self._end()

    def stop(self, reason: StopReason) -> bool:
        """Ends the work with the best answers so far; False, and not ended, if one is missing."""
        open_flows = [each.execution for each in self.running if not each.execution.done]
        if any(execution.best is None for execution in open_flows):
            return False
        for execution in open_flows:
            execution.stop(reason)
        self.results = [each.execution.result for each in self.running]
        self._end()
        return True

    def release(self) -> None:
        """Lets go of what refers back to it, once it has ended and nobody touches it any more.

        So its tensors go with whoever uses it last, and do not wait for the garbage collector.
        """
        self.request.name = None
        self.running = []

    def _begin(self, asks: Sequence[PlannedFlow]) -> list[EngineJob]:
        self.running = [
            Running(
                self,
                FlowRun(ask.flow, max_rows=ask.max_rows, forward_rows=self.forward_rows),
                ask.about,
            )
            for ask in asks
        ]
        jobs: list[EngineJob] = []
        for running in self.running:
            running.execution.start()
            jobs += self._jobs(running)
        return self._settle(jobs)

    def _settle(self, jobs: list[EngineJob]) -> list[EngineJob]:
        """Begins the next stage if this one has ended."""
        if jobs or not all(each.execution.done for each in self.running):
            return jobs
        return self._stage_ended()

    def _jobs(self, running: Running) -> list[EngineJob]:
        """The rows that a flow's round has to have evaluated; if it has none, it goes on."""
        execution = running.execution
        while not execution.done:
            running.outstanding = 0
            waiting = [pending for pending in execution.pending if pending.rows]
            jobs = [job for pending in waiting for job in self._missing(running, pending)]
            running.outstanding += len(jobs)
            if running.outstanding:
                return jobs
            execution.advance()
        return []

    def _missing(self, running: Running, pending: Pending) -> list[EngineJob]:
        key = self.model, pending.evaluation.key
        block = pending.evaluation.forward_rows or 1
        if self.recall is None:
            return [Job(key, pending.rows, JobPayload(running, pending), block)]
        return [
            Job(key, stop - start, JobPayload(running, pending, start), block)
            for start, stop in self.recall.missing(running, pending)
        ]

    def _stage_ended(self) -> list[EngineJob]:
        results = [each.execution.result for each in self.running]
        following = self.plan.following(results)
        if following:
            return self._begin(following)
        self.results = results
        self._end()
        return []

    def _end(self) -> None:
        self.ended = True
        for running in self.running:
            running.execution.close()
        if self.recall is not None:
            self.recall.end()
