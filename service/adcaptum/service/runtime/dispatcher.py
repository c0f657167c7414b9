"""The dispatcher: admits works, and runs each in the lane that costs least.

There are two lanes: the event loop for light works, device threads for all others. Threads of one
process share Python's lock: handing a request of some microseconds to a device thread and back
costs more than answering it (docs/decisions/0050-light-requests-in-the-event-loop.md). Each lane
has a scheduler of its own, so that the order of classes and the shares of callers hold within a
lane; batches of both run side by side. Limits apply to the sum of both lanes. Callers of this
module do not see lanes.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

import torch

from adcaptum.engine.scheduling.ledger import Account
from adcaptum.engine.scheduling.limits import ANY, Excess, Limits
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service import logs
from adcaptum.service.errors import Reason, TooBusy, Unavailable
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.curves import NO_MEMORY, Curve, row_seconds
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import Journal
from adcaptum.service.runtime.caller_rows import CallerRows
from adcaptum.service.runtime.cost import Ahead, Cost, Forecast
from adcaptum.service.runtime.engine_runner import EngineRunner, EngineSetup
from adcaptum.service.runtime.loop_runner import LoopRunner
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.thread_runner import ThreadRunner
from adcaptum.service.runtime.work import Work

LIGHT_ROW_SECONDS: Final = 100e-6
"""The most time of a row of a light model, in a batch of the best size."""

LIGHT_REQUEST_SECONDS: Final = 0.0015
"""The most time that the rows of a light request add to batches."""

LIGHT_BATCH_SECONDS: Final = 0.005
"""The longest batch of a light model, which holds up the event loop."""

UP_TO: Final = {most: tuple(each for each in Priority if each <= most) for most in Priority}
"""For each class, those whose requests are before its own."""

RETRY_SECONDS: Final = (0.05, 60.0)
"""The shortest and the longest time after which a refused caller is asked to try again."""

WATCH_SECONDS: Final = 1.0
"""The time between two looks for stuck models, at most."""


class Dispatcher:
    """Runs the works of one device. All methods are for the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: torch.device,
        metrics: Metrics,
        *,
        target_batch_seconds: float,
        crashed: Callable[[BaseException], None],
        limits: Limits = ANY,
        caller_limits: Limits = ANY,
        stuck_seconds: float = 60.0,
        journal: Journal | None = None,
        caller_rows: CallerRows | None = None,
    ) -> None:
        """Prepares the lanes; `start` starts them.

        Args:
            loop: The event loop in which works are awaited.
            device: The device of the models.
            metrics: The counters of batches.
            target_batch_seconds: The longest time of a batch.
            crashed: Called in the event loop if the engine itself fails.
            limits: The limits on all work in flight.
            caller_limits: The limits on one caller's work in flight.
            stuck_seconds: The time in one batch after which a model counts as stuck.
            journal: Where batches are noted while they run; None: nowhere.
            caller_rows: The limits of single callers.
        """
        self._caller_rows = caller_rows or CallerRows()
        self.limits = limits
        self.caller_limits = caller_limits
        self._loop = loop
        self._device = device
        self._stuck_seconds = stuck_seconds
        self._crashed = crashed
        self._planning = PlanningThreads(self._planning_crashed)
        setup = EngineSetup(
            loop, device, metrics, target_batch_seconds, crashed, self._planning, journal
        )
        self._threads_lane = ThreadRunner(setup)
        batch_seconds = min(target_batch_seconds, LIGHT_BATCH_SECONDS)
        setup = replace(setup, target_batch_seconds=batch_seconds)
        self._loop_lane = LoopRunner(setup, self._ban)
        self._lanes: tuple[EngineRunner, ...] = (self._threads_lane, self._loop_lane)
        # The time of a row, by kind, in the best of the batches that were measured at load.
        self._light_models: dict[ServedModel, dict[str, float]] = {}
        self._stuck: set[ServedModel] = set()
        self._threads = 1
        self._watch_timer: asyncio.TimerHandle | None = None
        metrics.queue_rows.labels(str(device)).set_function(lambda: self.waiting_rows)

    @property
    def waiting_rows(self) -> int:
        """The number of rows that wait; readable from any thread."""
        return sum([lane.core.waiting_rows for lane in self._lanes])

    def add(
        self,
        model: ServedModel,
        curves: Mapping[str, Curve],
        memory: Mapping[str, tuple[int, int]] = NO_MEMORY,
    ) -> None:
        """Adds a model.

        Args:
            model: The model.
            curves: The seconds of its batches by their rows, for each kind.
            memory: The rows and the bytes of a batch, for each kind of which they are known.
        """
        best = {kind: row_seconds(curve) for kind, curve in curves.items()}
        if self._device.type == "cpu" and max(best.values()) <= LIGHT_ROW_SECONDS:
            self._light_models[model] = best
        for lane in self._lanes:
            lane.core.sizes.seed(model, curves, memory)

    def forget(self, model: ServedModel) -> bool:
        """Forgets a model that was taken out of service, unless works of it are left.

        Returns:
            Whether it was forgotten; what still begins is evaluated all the same.
        """
        forgotten = all(lane.forget(model) for lane in self._lanes)
        if forgotten:
            self._light_models.pop(model, None)
        return forgotten

    def is_light(self, model: ServedModel) -> bool:
        """Returns whether a model's rows may be evaluated in the event loop."""
        return model in self._light_models

    def forecast(self, model: ServedModel, cost: Cost, priority: Priority) -> Forecast:
        """Estimates the time of a request that arrives now."""
        lane = self._lane(model, cost)
        sizes = lane.core.sizes
        first = own = self._wall(lane, sizes.seconds(model, cost.rows, cost.row_bytes))
        if cost.first_rows != cost.rows:
            first = self._wall(lane, sizes.seconds(model, cost.first_rows, cost.row_bytes))
        return Forecast(
            own + cost.planning_seconds,
            first,
            self._ahead(lane, priority),
            lane.core.pace.value,
        )

    def thread_seconds(self, model: ServedModel, cost: Cost) -> float:
        """Estimates the time of a request's rows in device threads, if it has them for itself."""
        lane = self._threads_lane
        return self._wall(lane, lane.core.sizes.seconds(model, cost.rows, cost.row_bytes))

    def submit(self, work: Work) -> None:
        """Starts a work, if the limits allow it; in constant time, whatever the backlog.

        Raises:
            TooBusy: A limit is reached, that of all or that of this caller.
            Unavailable: The model is stuck.
        """
        callers = {} if work.request.caller is None else {work.request.caller: 1}
        self._admit(work, callers)
        self._lane(work.model, work.cost).submit(work)

    def submit_to_loop(self, work: Work, callers: Mapping[Hashable, int]) -> None:
        """Starts a work that runs in the event loop, with the next `step_loop`.

        Args:
            work: The work.
            callers: The number of requests of each caller that it answers.

        Raises:
            TooBusy: A limit is reached, that of all or that of a caller.
            Unavailable: The model is stuck.
        """
        self._admit(work, callers)
        self._loop_lane.add(work)

    def submit_to_threads(self, work: Work, callers: Mapping[Hashable, int]) -> None:
        """Starts a work that device threads run; see `submit_to_loop`."""
        self._admit(work, callers)
        self._threads_lane.submit(work)

    def step_loop(self) -> None:
        """Takes the step of the event loop now, unless one is scheduled."""
        self._loop_lane.step_now()

    @property
    def loop_is_idle(self) -> bool:
        """True if no rows wait in the event loop: those of new works are all evaluated next."""
        return not self._loop_lane.core.queue.has_work

    @property
    def threads_are_idle(self) -> bool:
        """True if no rows wait for device threads: those of new works are all evaluated next."""
        return not self._threads_lane.core.queue.has_work

    def _admit(self, work: Work, callers: Mapping[Hashable, int]) -> None:
        """Checks that there is room for a work; see `submit_to_loop`."""
        if work.model in self._stuck:
            raise _stuck(work.model)
        request = work.request
        rows, nbytes, members = request.expected_rows, request.nbytes, request.members
        excess = self.limits.excess(self.held(), rows, nbytes, members)
        if excess is not None:
            raise self._too_busy("the server", excess, request.priority, excess.unit)
        whole = sum(callers.values())
        for caller, own in callers.items():
            limits = self._caller_rows.limits(caller, self.caller_limits)
            if limits == ANY:
                continue
            part = -(-rows * own // whole), -(-nbytes * own // whole), -(-members * own // whole)
            excess = limits.excess(self.held(caller), *part)
            if excess is not None:
                reason = f"caller_{excess.unit}"
                raise self._too_busy("this caller", excess, request.priority, reason)

    def runs_in_loop(self, model: ServedModel, cost: Cost, *, members: int = 1) -> bool:
        """Returns whether works of some cost run in the event loop.

        Args:
            model: The model.
            cost: The cost.
            members: The number of requests of which it is the sum.
        """
        best = self._light_models.get(model)
        if best is None or not cost.plain:
            return False
        added = sum([best.get(kind, 0.0) * rows for kind, rows in cost.planned_rows.items()])
        return added <= (LIGHT_REQUEST_SECONDS if members == 1 else LIGHT_BATCH_SECONDS)

    def cancel(self, work: Work, reason: str) -> None:
        """Stops a work; does nothing if it has ended.

        Args:
            work: The work.
            reason: For the metrics: `cancelled` or `deadline`.
        """
        for lane in self._lanes:
            lane.cancel(work, reason)

    def held(self, caller: Hashable = None) -> Account:
        """Returns the work that a caller has in flight; None: that of all callers."""
        held = Account()
        for lane in self._lanes:
            ledger = lane.core.ledger
            part = ledger.total if caller is None else ledger.account(caller)
            held.requests += part.requests
            held.rows += part.rows
            held.nbytes += part.nbytes
        return held

    def retry_seconds(
        self, share: float | None = None, priority: Priority = Priority.BATCH
    ) -> float:
        """Returns after how many seconds a refused caller should try again.

        Args:
            share: The share of the work in flight that has to end first, from 0 to 1; None: one
                request.
            priority: The class of the request.
        """
        if share is None:
            share = 1 / max(1, self.held().requests)
        backlog = max(
            [
                lane.core.pace.value * self._wall(lane, lane.core.ledger.seconds(priority))
                for lane in self._lanes
            ]
        )
        least, most = RETRY_SECONDS
        return min(max(backlog * share, least), most)

    def start(self, threads: Threads) -> None:
        """Starts the device threads; a later call starts others in their place."""
        torch.set_num_threads(1)
        # Threads of an accelerator share its time.
        self._threads = threads.device if self._device.type == "cpu" else 1
        self._threads_lane.start(threads)
        if self._watch_timer is None:
            self._watch()

    async def stop(self, seconds: float = 2.0) -> bool:
        """Ends the threads after their batches; the works that are left get UNAVAILABLE.

        Args:
            seconds: The longest wait for the threads.

        Returns:
            Whether all threads have ended; a stuck model keeps its own.
        """
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self._loop_lane.stop(seconds)
        # Polls, because a thread that would wait for them might not be free.
        end = monotonic() + seconds
        while not (ended := self._threads_lane.stop(0.0) and self._planning.stop(0.0)):
            if monotonic() > end:
                break
            await asyncio.sleep(0.01)
        for lane in self._lanes:
            lane.fail_all()
        return ended

    def _lane(self, model: ServedModel, cost: Cost) -> EngineRunner:
        """Returns the lane for a work of some cost.

        It goes by `planned_rows`: a request with a small budget still has all rows of its methods
        planned.
        """
        return self._loop_lane if self.runs_in_loop(model, cost) else self._threads_lane

    def _ahead(self, lane: EngineRunner, priority: Priority) -> Ahead:
        ledger = lane.core.ledger
        backlogs = [ledger.backlogs[each] for each in UP_TO[priority]]
        return Ahead(
            sum([each.requests for each in backlogs]),
            sum([each.rows + each.expected_rows for each in backlogs]),
            self._wall(lane, sum([each.seconds for each in backlogs])),
        )

    def _wall(self, lane: EngineRunner, seconds: float) -> float:
        return seconds if lane is self._loop_lane else seconds / self._threads

    def _too_busy(self, who: str, excess: Excess, priority: Priority, limit: str) -> TooBusy:
        """Makes the error of a reached limit, with the time after which to try again."""
        share = min(1.0, excess.over / excess.held) if excess.held else 0.0
        return TooBusy(
            f"{who} has {excess.held} {excess.unit} in flight, of {excess.limit} allowed",
            retry_s=self.retry_seconds(share, priority),
            limit=limit,
        )

    def _planning_crashed(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._crashed, error)

    def _ban(self, model: ServedModel) -> None:
        self._light_models.pop(model, None)

    def _watch(self) -> None:
        """Replaces threads in which a model is stuck, and refuses requests for such models."""
        stuck = self._threads_lane.replace_stuck(self._stuck_seconds)
        for model in stuck - self._stuck:
            logs.logger().error("a model is stuck", model=model.name, seconds=self._stuck_seconds)
            self._ban(model)
            for lane in self._lanes:
                lane.fail_model(model, _stuck(model))
        for model in self._stuck - stuck:
            logs.logger().warning("a model that was stuck goes on", model=model.name)
        self._stuck = stuck
        period = min(WATCH_SECONDS, self._stuck_seconds)
        self._watch_timer = self._loop.call_later(period, self._watch)


def _stuck(model: ServedModel) -> Unavailable:
    return Unavailable(
        f"Model {model.name!r} is stuck: a batch of it does not end.", reason=Reason.MODEL_STUCK
    )
