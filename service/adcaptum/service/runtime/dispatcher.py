"""The engine loops of a device: one for requests that take next to nothing, one for the others.

Threads of one process share Python's lock. Where a request costs a few microseconds, handing it to
a device thread and back costs more than answering it: a small table model, saliency, 32 callers:
1.1 ms of processor time a request with device threads, 0.5 without. So such requests are evaluated
in the event loop itself, in batches so short that nobody notices; all others in device threads,
which run on the other cores while the event loop reads requests.

Each loop has a scheduler of its own, so that the order of classes and the shares of callers hold
within a loop. Between the two nobody waits for anybody's turn: batches of both run side by side,
and share what cores and lock they have. What is under way is counted over both.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Final, NamedTuple

import torch

from adcaptum.engine.scheduling.ledger import Account
from adcaptum.engine.scheduling.limits import ANY, Excess, Limits
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import TooBusy
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.models.warm_up import NO_MEMORY, Curve, Threads, row_seconds
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.work import Work

LIGHT_ROW_SECONDS: Final = 100e-6
"""What a row of a light model costs at most, in a batch of the best size."""

LIGHT_REQUEST_SECONDS: Final = 0.0015
"""What the rows of a light request add to batches at most.

Two cores, 8 callers: saliency of a small CNN, 0.1 ms, 780 a second in the event loop and 390 in
device threads; integrated gradients of it, 2.5 ms, 120 and 220.
"""

LIGHT_BATCH_SECONDS: Final = 0.005
"""How long a batch of a light model may keep the event loop."""


RETRY_SECONDS: Final = (0.05, 60.0)
"""The shortest and the longest that a caller is asked to wait before it tries again."""


class Ahead(NamedTuple):
    """What is under way before a request that comes now.

    Attributes:
        requests: How many.
        rows: How many rows of them are known and wait.
        seconds: How long these take. A small request waits for less, because shares are fair.
    """

    requests: int
    rows: int
    seconds: float


class Dispatcher:
    """Runs the works of one device."""

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
    ) -> None:
        """Prepares them; `start` starts them.

        Args:
            loop: Where works are awaited.
            device: Where models are.
            metrics: What to count.
            target_batch_seconds: How long a batch may take.
            crashed: Called in the event loop if an engine fails, which is a fault of ours.
            limits: How much may be under way.
            caller_limits: How much may be of one caller.
        """
        self.limits = limits
        self.caller_limits = caller_limits
        self._device = device
        self._heavy = EngineRunner(
            loop, device, metrics, target_batch_seconds=target_batch_seconds, crashed=crashed
        )
        self._light = EngineRunner(
            loop,
            device,
            metrics,
            target_batch_seconds=min(target_batch_seconds, LIGHT_BATCH_SECONDS),
            crashed=crashed,
            threaded=False,
        )
        # What their rows take, by kind, in the best of the batches that were measured at load.
        self._light_models: dict[ServedModel, dict[str, float]] = {}
        self._threads = 1
        metrics.queue_rows.labels(str(device)).set_function(lambda: self.waiting_rows)

    @property
    def waiting_rows(self) -> int:
        """How many rows wait."""
        return self._heavy.waiting_rows + self._light.waiting_rows

    def add(
        self,
        model: ServedModel,
        curves: Mapping[str, Curve],
        memory: Mapping[str, tuple[int, int]] = NO_MEMORY,
    ) -> None:
        """Takes a model.

        Args:
            model: The model.
            curves: The seconds of its batches by their rows, for each kind.
            memory: The rows of a batch and the bytes that it took, for each kind of which that is
                known.
        """
        best = {kind: row_seconds(curve) for kind, curve in curves.items()}
        if self._device.type == "cpu" and max(best.values()) <= LIGHT_ROW_SECONDS:
            self._light_models[model] = best
        for kind, curve in curves.items():
            for engine in (self._heavy, self._light):
                engine.batch_sizer.seed((model, kind), curve, memory.get(kind))

    def of(
        self, model: ServedModel, rows: Mapping[str, int], *, plain: bool = True
    ) -> EngineRunner:
        """Returns what runs a work.

        Args:
            model: What is evaluated.
            rows: How many rows it is expected to take, by kind.
            plain: Whether the work takes hardly any time beside its rows.
        """
        best = self._light_models.get(model)
        if best is None or not plain:
            return self._heavy
        added = sum(best.get(kind, 0.0) * n for kind, n in rows.items())
        return self._light if added <= LIGHT_REQUEST_SECONDS else self._heavy

    def is_light(self, model: ServedModel) -> bool:
        """Whether a model's rows may be evaluated in the event loop."""
        return model in self._light_models

    def seconds(self, engine: EngineRunner, model: ServedModel, rows: Mapping[str, int]) -> float:
        """Estimates how long rows take, by kind, with all of an engine for them alone."""
        return self._wall(engine, _seconds(engine, model, rows))

    def row_seconds(self, engine: EngineRunner, model: ServedModel) -> float:
        """Estimates how long one more row takes in a batch, at least."""
        return engine.batch_sizer.kind_line((model, "forward")).row

    def submit(self, work: Work, engine: EngineRunner) -> None:
        """Has a work done, if there is room for it. To be called in the event loop.

        What this costs does not depend on how much is under way.

        Args:
            work: What to do.
            engine: What runs it, see `of`.

        Raises:
            TooBusy: There is no room, for anybody or for this caller.
        """
        request = work.request
        about = request.expected_rows, request.nbytes
        excess = self.limits.excess(self.held(), *about)
        if excess is not None:
            raise self._too_busy("the server", excess, request.priority, excess.unit)
        if request.caller is not None:
            excess = self.caller_limits.excess(self.held(request.caller), *about)
            if excess is not None:
                reason = f"caller_{excess.unit}"
                raise self._too_busy("this caller", excess, request.priority, reason)
        engine.submit(work)

    def held(self, caller: Hashable = None) -> Account:
        """Returns what a caller has under way; None: what all of them have."""
        held = Account()
        for engine in (self._heavy, self._light):
            scheduler = engine.scheduler
            part = scheduler.ledger.total if caller is None else scheduler.ledger.account(caller)
            held.requests += part.requests
            held.rows += part.rows
            held.nbytes += part.nbytes
        return held

    def ahead(self, engine: EngineRunner, priority: Priority = Priority.INTERACTIVE) -> Ahead:
        """Returns what is under way before a request of a class that comes now."""
        backlogs = [engine.scheduler.ledger.backlogs[each] for each in Priority if each <= priority]
        return Ahead(
            sum(each.requests for each in backlogs),
            sum(each.rows + each.expected_rows for each in backlogs),
            self._wall(engine, sum(each.seconds for each in backlogs)),
        )

    def _wall(self, engine: EngineRunner, seconds: float) -> float:
        return seconds if engine is self._light else seconds / self._threads

    def retry_seconds(
        self, share: float | None = None, priority: Priority = Priority.BATCH
    ) -> float:
        """When to try again where there is too much to do, in seconds from now.

        Args:
            share: How much of what is under way has to go first, from 0 to 1; None: one request.
            priority: Whom the one who tries again will wait for.
        """
        if share is None:
            share = 1 / max(1, self.held().requests)
        backlog = max(
            self._wall(engine, engine.scheduler.ledger.seconds(priority))
            for engine in (self._heavy, self._light)
        )
        least, most = RETRY_SECONDS
        return min(max(backlog * share, least), most)

    def _too_busy(self, who: str, excess: Excess, priority: Priority, reason: str) -> TooBusy:
        """Says what there is too much of, and when as much of it will have gone as has to."""
        share = min(1.0, excess.over / excess.held) if excess.held else 0.0
        return TooBusy(
            f"{who} has {excess.held} {excess.unit} under way, of {excess.limit} allowed",
            retry_s=self.retry_seconds(share, priority),
            reason=reason,
        )

    def start(self, threads: Threads) -> None:
        """Starts the device threads. To be called in the event loop."""
        torch.set_num_threads(1)
        self._threads = threads.device
        self._heavy.start(threads.device, threads.intra_op)

    async def stop(self) -> None:
        """Ends the threads after their batches; works that are left fail."""
        self._light.stop()
        await asyncio.to_thread(self._heavy.stop)


def _seconds(engine: EngineRunner, model: ServedModel, rows: Mapping[str, int]) -> float:
    lines = {kind: engine.batch_sizer.kind_line((model, kind)) for kind in rows}
    return sum(lines[kind].seconds(n) for kind, n in rows.items())
