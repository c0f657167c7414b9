"""Engine runners: an engine core, and the threads or loop that step it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import get_ident

import torch

from adcaptum.service.errors import Cancelled, Reason, Unavailable
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import Journal
from adcaptum.service.runtime.engine_core import EngineCore
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.work import Work


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """The surroundings of an engine runner.

    Attributes:
        loop: The event loop in which works are awaited.
        device: The device of the models.
        metrics: The counters of batches.
        target_batch_seconds: The longest time of a batch.
        crashed: Called in the event loop if a step itself fails.
        planning: The threads for works that plan apart.
        journal: Where batches are noted while they run; None: nowhere.
    """

    loop: asyncio.AbstractEventLoop
    device: torch.device
    metrics: Metrics
    target_batch_seconds: float
    crashed: Callable[[BaseException], None]
    planning: PlanningThreads
    journal: Journal | None = None


class EngineRunner:
    """The runner of one lane's works; subclasses step the core.

    All methods are for the event loop.

    Attributes:
        core: The engine core.
        works: The works that have been submitted and have not finished.
    """

    def __init__(self, setup: EngineSetup) -> None:
        self.core = EngineCore(
            setup.device,
            setup.metrics,
            target_batch_seconds=setup.target_batch_seconds,
            notify=self._notify,
            planning=setup.planning,
            journal=setup.journal,
        )
        self.works: dict[Work, None] = {}
        self._device = setup.device
        self._metrics = setup.metrics
        self._loop = setup.loop
        self._loop_thread = get_ident()
        self._crashed = setup.crashed

    def submit(self, work: Work) -> None:
        """Starts a work, whatever the backlog."""
        self.works[work] = None
        self.core.queue.submit(work)
        self._wake()

    def cancel(self, work: Work, reason: str) -> None:
        """Stops a work; does nothing if it has ended.

        Args:
            work: The work.
            reason: For the metrics: `cancelled` or `deadline`.
        """
        self._stop_work(work, Cancelled("the caller went away"), reason)

    def fail_model(self, model: ServedModel, error: Exception) -> None:
        """Stops all works of a model with an error."""
        for work in [each for each in self.works if each.model is model]:
            self._stop_work(work, error, "error")

    def forget(self, model: ServedModel) -> bool:
        """Forgets a model that was taken out of service, unless works of it are left.

        Returns:
            Whether it was forgotten.
        """
        if any(work.model is model for work in self.works):
            return False
        self.core.queue.compact()
        self.core.sizes.forget(model)
        self.core.evaluator.forget(model)
        return True

    def stop(self, seconds: float) -> bool:
        """Ends the stepping of the core; callable from any thread.

        Works may be left, which `fail_all` answers.

        Args:
            seconds: The longest wait for running batches.

        Returns:
            Whether all of them have ended.
        """
        raise NotImplementedError

    def fail_all(self) -> None:
        """Answers UNAVAILABLE to all works that are left; the core runs them no more."""
        left = [*self.works]
        for work in left:
            # Where a thread is stuck with the lock, the flows stay as they are.
            if work.lock.acquire(blocking=False):
                try:
                    work.fail(Unavailable("The server is shutting down.", reason=Reason.DRAINING))
                finally:
                    work.lock.release()
            if not work.ended:
                work.error = Unavailable("The server is shutting down.", reason=Reason.DRAINING)
        self._deliver(left, ())

    def _stop_work(self, work: Work, error: Exception, waste: str) -> None:
        if work in self.works:
            self.core.queue.stop(work, error, waste)
            self._wake()

    def _wake(self) -> None:
        """Schedules a step, where no thread waits for one."""

    def _notify(self, ended: Sequence[Work], advanced: Sequence[Work]) -> None:
        """Notifies the event loop; callable from any thread."""
        if not (ended or advanced):
            return
        if get_ident() == self._loop_thread:
            self._deliver(ended, advanced)
        else:
            self._loop.call_soon_threadsafe(self._deliver, ended, advanced)

    def _deliver(self, ended: Iterable[Work], advanced: Iterable[Work]) -> None:
        for work in ended:
            self.works.pop(work, None)
            if not work.finished.done():
                work.finished.set_result(None)
            work.release()
        for work in advanced:
            if work.progressed is not None and not work.ended:
                work.progressed()
