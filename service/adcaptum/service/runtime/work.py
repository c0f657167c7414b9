"""Works: the computation of one request by the engine, or of several alike ones.

Rules:
1. The event loop makes a `Work`, submits it, and awaits `finished`; it may ask to cancel it.
2. One thread at a time runs its flows, and holds its `lock`: a thread that runs batches, or, for a
   work whose methods compute for long (`plans_apart`), a planning thread.
3. A work ends once, with results or with an error, and then all of its flows are closed.
4. Flows of one part fail together. The work goes on with the other parts; where none is left, it
   ends with the error of the first part.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.execution.evaluator import raised_by_model
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request
from adcaptum.engine.vocabulary.evaluation import FORWARD_ROWS
from adcaptum.service.device.busy_time import BusyTime
from adcaptum.service.device.host_copies import in_memory
from adcaptum.service.errors import ModelRaised
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.planned_flow import FailedFlow, Plan, PlannedFlow


@dataclass(slots=True, eq=False)
class RunningFlow:
    """A flow of a work that runs.

    Attributes:
        work: The work that it belongs to.
        execution: The flow.
        about: The part of the request that the flow computes, see `PlannedFlow`.
        part: The flows that fail with it, see `PlannedFlow`.
        error: The error of its part, while others go on.
        outstanding: The number of evaluations of its round that are not complete.
    """

    work: "Work"
    execution: FlowRun[Any]
    about: object = None
    part: Hashable = None
    error: Exception | None = None
    outstanding: int = 0

    @property
    def waiting(self) -> list[Pending]:
        """The evaluations of its round that have rows."""
        return [pending for pending in self.execution.pending if pending.rows]

    @property
    def over(self) -> bool:
        """True if it has ended, with a result or an error."""
        return self.execution.done or self.error is not None

    @property
    def result(self) -> Any:
        """Its return value; if its part failed, the failure."""
        if self.error is not None:
            return FailedFlow(self.error, self.execution.rows_used)
        return self.execution.result


class Work:
    """The computation of one request by the engine.

    Attributes:
        model: The model that is evaluated.
        plan: The stages of its computation.
        cost: Its expected cost.
        seconds: The time that its rows were expected to take when it began.
        request: The scheduler's record of it.
        arrival: When the request arrived, on the monotonic clock, in seconds.
        finished: Set, in the event loop, when the work has ended.
        progressed: Called in the event loop when the work has advanced; None: not called.
        expires: Whether the engine ends it at the deadline.
        ids: The ids of the requests that it answers.
        forward_rows: The most rows of each of its forwards, which then hold no rows of others;
            None: as many as come together.
        running: The flows of the current stage.
        results: The flows' return values, or failures, once the work has ended.
        error: The reason of its failure.
        culprit: What the flow is about whose error it is, see `PlannedFlow`; None: it is no flow's.
        waste: The reason of its wasted rows, for the metrics.
        computing: The time during which batches with rows of it ran.
        batches: The number of these batches.
        rows_done: The number of its rows that have been evaluated.
        reported: When `progressed` was last called.
    """

    __slots__ = (
        "arrival",
        "batches",
        "computing",
        "cost",
        "culprit",
        "ended",
        "error",
        "expires",
        "finished",
        "forward_rows",
        "ids",
        "lock",
        "model",
        "plan",
        "progressed",
        "reported",
        "request",
        "results",
        "rows_done",
        "running",
        "seconds",
        "waste",
    )  # fmt: skip

    def __init__(
        self,
        model: ServedModel,
        plan: Plan,
        cost: Cost,
        *,
        finished: asyncio.Future[None],
        arrival: float,
        priority: Priority = Priority.INTERACTIVE,
        caller: Hashable = None,
        seconds: float = 0.0,
        deadline: float | None = None,
        expires: bool = True,
        deterministic: bool = False,
        members: int = 1,
        ids: tuple[str, ...] = (),
    ) -> None:
        """Makes a work; `Dispatcher.submit` starts it.

        Args:
            model: The model to evaluate.
            plan: The stages of the computation.
            cost: Its expected cost.
            finished: Set when it has ended.
            arrival: When the request arrived, on the monotonic clock, in seconds.
            priority: Its class.
            caller: The caller; callers share the device evenly, however many requests they send.
                None: as if no other request were of its caller.
            seconds: The time that its rows are expected to take, see `Dispatcher.forecast`.
            deadline: When its answer is due, on the monotonic clock; None for never.
            expires: Whether the engine ends it at the deadline. If not, the deadline only orders
                its rows.
            deterministic: Whether its answer is the same to the last bit each time, whatever shares
                the device: no forward holds its rows and others.
            members: The number of callers' requests that it answers.
            ids: Their ids, as far as they are known when it begins.
        """
        self.model = model
        self.plan = plan
        self.cost = cost
        self.seconds = seconds
        self.request = Request(
            self,
            priority=priority,
            caller=caller,
            deadline=deadline,
            rows=cost.total_rows,
            seconds=seconds,
            nbytes=cost.nbytes,
            members=members,
        )
        self.arrival = arrival
        self.ids = ids
        self.finished = finished
        self.progressed: Callable[[], None] | None = None
        self.expires = expires
        most = FORWARD_ROWS if model.checks.independent else 1
        self.forward_rows = most if deterministic else None
        self.lock = Lock()
        self.running: list[RunningFlow] = []
        self.results: list[Any] = []
        self.error: Exception | None = None
        self.culprit: object = None
        self.ended = False
        self.waste = ""
        self.computing = BusyTime()
        self.batches = 0
        self.rows_done = 0
        self.reported = 0.0

    @property
    def queue_seconds(self) -> float:
        """The time from the arrival to the first batch."""
        started = self.request.scheduled_at
        return 0.0 if started is None else max(0.0, started - self.arrival)

    @property
    def compute_seconds(self) -> float:
        """The time during which batches with rows of it ran; batches side by side count once."""
        return self.computing.seconds

    def start(self) -> list[RunningFlow]:
        """Begins the first stage.

        Returns:
            The flows that wait for rows, or have paused.
        """
        return self._begin(self.plan.first())

    def advance(self, flow: RunningFlow) -> list[RunningFlow]:
        """Resumes a flow whose round is complete, or which has paused.

        Returns:
            The flows that wait for rows, or have paused.
        """
        self._run(flow, flow.execution.advance)
        return self._settle(self._waiting([flow]))

    def fail(self, error: Exception, culprit: RunningFlow | None = None) -> None:
        """Ends the work with an error, or only the part of the flow that asked for it.

        Args:
            error: The error.
            culprit: The flow that asked for it, into which the error is thrown; None: the whole
                work ends.
        """
        if self.ended or (culprit is not None and culprit.error is not None):
            return
        if culprit is not None:
            try:
                culprit.execution.fail(error)
            except Exception as raised:  # noqa: BLE001  # whatever the flow makes of it is the answer
                error = raised
            try:
                self._fail_part(culprit, error)
            except Exception as first:  # noqa: BLE001  # no part is left
                error = first
            else:
                # Parts are of the last stage: no further flow begins.
                self._settle([])
                return
        self.error = self._named(error)
        self._end()

    def to_memory(self) -> None:
        """Brings the best answers so far into the processor's memory."""
        with self.lock:
            for flow in self.running:
                if flow.execution.best is not None:
                    (flow.execution.best,) = in_memory([flow.execution.best])

    def release(self) -> None:
        """Drops the references back to an ended work, so that reference counts free its tensors."""
        self.request.name = None
        self.running = []

    def _begin(self, planned: Sequence[PlannedFlow]) -> list[RunningFlow]:
        self.running = [
            RunningFlow(
                self,
                FlowRun(each.flow, max_rows=each.max_rows, forward_rows=self.forward_rows),
                each.about,
                each.part,
            )
            for each in planned
        ]
        for flow in self.running:
            self._run(flow, flow.execution.start)
        return self._settle(self._waiting(self.running))

    def _waiting(self, flows: Sequence[RunningFlow]) -> list[RunningFlow]:
        """Runs rounds without rows; returns the flows that wait for rows or have paused."""
        waiting = []
        for flow in flows:
            execution = flow.execution
            while execution.pending and not flow.waiting:
                self._run(flow, execution.advance)
            if not flow.over:
                flow.outstanding = len(flow.waiting)
                waiting.append(flow)
        # One that came later may have failed together with an earlier one.
        return [flow for flow in waiting if flow.error is None]

    def _run(self, flow: RunningFlow, step: Callable[[], object]) -> None:
        """Runs a step of a flow; its error ends the flow's part, and is raised if none is left."""
        if flow.error is not None:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001  # it is the part's answer
            self._fail_part(flow, error)

    def _fail_part(self, flow: RunningFlow, error: Exception) -> None:
        """Ends the flows of a part with an error.

        Raises:
            Exception: No part is left: the error of the first one. Or the request is wrong, and the
                other parts are too.
        """
        self.culprit = flow.about
        if flow.part is None or isinstance(error, InvalidArgument):
            raise error
        named = self._named(error)
        for each in self.running:
            if each.part == flow.part:
                each.error = named
                each.execution.close()
        parts = [each for each in self.running if each.part is not None]
        if parts[0].error is not None and all(each.error for each in parts):
            self.culprit = parts[0].about
            raise parts[0].error

    def _named(self, error: Exception) -> Exception:
        """Returns the error for callers: an exception of the model's own code is `ModelRaised`."""
        if not raised_by_model(error):
            return error
        raised = ModelRaised(subject=self.model.name)
        raised.__cause__ = error
        return raised

    def _settle(self, waiting: list[RunningFlow]) -> list[RunningFlow]:
        """Begins the next stage if this one has ended."""
        if waiting or not all(flow.over for flow in self.running):
            return waiting
        results = [flow.result for flow in self.running]
        following = self.plan.following(results)
        if following:
            return self._begin(following)
        self.results = results
        self._end()
        return []

    def _end(self) -> None:
        self.ended = True
        for flow in self.running:
            flow.execution.close()
