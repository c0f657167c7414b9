"""The loop runner: the event loop steps the core, one batch at a time, with pauses in between."""

import threading
from collections.abc import Callable
from resource import RUSAGE_THREAD, getrusage
from time import monotonic
from typing import Final

from adcaptum.service import logs
from adcaptum.service.device.run_delay import RunDelay
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner, EngineSetup
from adcaptum.service.runtime.work import Work

IDLE_PASSES: Final = 8
"""The passes of the event loop, of some microseconds each, without a new request after which a step
is due: gRPC hands over one request in several passes, and requests that come together share a
batch (docs/decisions/0050-light-requests-in-the-event-loop.md)."""

YIELDS_BETWEEN_STEPS: Final = 24
"""The passes of the event loop between steps while rows wait: a request that arrives, and an answer
that leaves, need several of them, and each would wait for a batch otherwise."""

MOST_ARRIVALS: Final = 256
"""The number of new requests with which a step is taken at once."""

WAIT_SECONDS: Final = 0.05
"""The sleep or wait of a batch from which on its model is banned from the event loop. Waits for
Python's lock are shorter, and waits for a core, on a busy machine, do not count."""

LONG_SECONDS: Final = 0.5
"""The time of a batch from which on its model is banned, whatever the batch did."""


class LoopRunner(EngineRunner):
    """The runner of light works, in the event loop itself.

    A model whose batch has waited, or has taken long, may do so again and for ever. The runner bans
    it: a thread finishes its works that run, during which the loop takes no step, and the
    dispatcher sends no more.
    """

    def __init__(self, setup: EngineSetup, banned: Callable[[ServedModel], None]) -> None:
        """Prepares the runner.

        Args:
            setup: Its surroundings.
            banned: Called with a model that must not run in the event loop any more.
        """
        super().__init__(setup)
        # The target is a hard bound here: a longer batch would hold up the event loop.
        self.core.sizes.sizer.row_times = 1.0
        self._ban = banned
        self._delay = RunDelay()
        self._banned: set[ServedModel] = set()
        self._step_is_due = False
        self._stopping = False
        self._passes = 0
        self._seen = 0
        self._yields = 0

    def forget(self, model: ServedModel) -> bool:
        """Forgets a model that was taken out of service, unless works of it are left."""
        forgotten = super().forget(model)
        if forgotten:
            self._banned.discard(model)
        return forgotten

    def stop(self, seconds: float) -> bool:  # noqa: ARG002  # nothing is waited for
        """Takes no more steps."""
        self._stopping = True
        return True

    def _wake(self) -> None:
        """Schedules a step behind the pending work of the event loop.

        That work includes reading other requests that have arrived, which then share the step.
        """
        if not self._step_is_due and not self._stopping:
            self._step_is_due = True
            self._passes = self._seen = 0
            self._loop.call_soon(self._step_in_loop)

    def _step_in_loop(self) -> None:
        """Takes a step, once no request has arrived for a few passes of the event loop."""
        arrivals = self.core.queue.arrivals
        if self._yields:
            self._yields -= 1
            self._loop.call_soon(self._step_in_loop)
            return
        self._passes = self._passes + 1 if arrivals == self._seen else 0
        self._seen = arrivals
        if 0 < arrivals < MOST_ARRIVALS and self._passes < IDLE_PASSES:
            self._loop.call_soon(self._step_in_loop)
            return
        self._take_step()

    def add(self, work: Work) -> None:
        """Adds a work that begins with the next step."""
        self.works[work] = None
        self.core.queue.submit(work)

    def step_now(self) -> None:
        """Takes a step now, unless one is scheduled."""
        if self.core.queue.has_work and not self._step_is_due and not self._stopping:
            self._step_is_due = True
            self._take_step()

    def _take_step(self) -> None:
        if self._stopping:
            return
        if self._banned and any(work.model in self._banned for work in self.works):
            threading.Thread(target=self._step_in_thread, name="banned", daemon=True).start()
            return
        self._step_is_due = False
        try:
            self._step()
        except BaseException as error:
            logs.logger().exception("the engine failed")
            self._crashed(error)
            raise
        if self.core.queue.has_work:
            self._wake()
            self._yields = YIELDS_BETWEEN_STEPS

    def _step_in_thread(self) -> None:
        """Takes steps until the core has nothing to do, while the loop takes none."""
        try:
            while self.core.queue.has_work:
                self.core.step(self.core.queue.next())
        except BaseException as error:
            logs.logger().exception("the engine failed")
            self._loop.call_soon_threadsafe(self._crashed, error)
            raise
        self._loop.call_soon_threadsafe(self._resume)

    def _resume(self) -> None:
        self._step_is_due = False
        if self.core.queue.has_work:
            self._wake()

    def _step(self) -> None:
        used, delay, begin = getrusage(RUSAGE_THREAD), self._delay.seconds(), monotonic()
        work = self.core.queue.take_lone()
        if work is None:
            batch = self.core.step(self.core.queue.next())
        else:
            batch = self.core.run_alone(work)
        seconds = monotonic() - begin
        # Most steps end here: calls of the system cost more than they seem to.
        if batch is None or seconds < WAIT_SECONDS:
            return
        seconds -= self._delay.seconds() - delay
        now = getrusage(RUSAGE_THREAD)
        idle = seconds - (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
        if seconds > LONG_SECONDS or (idle > WAIT_SECONDS and now.ru_nvcsw > used.ru_nvcsw):
            model = batch.slices[0].job.payload.work.model
            if model not in self._banned:
                logs.logger().warning(
                    "banned from the event loop",
                    model=model.name,
                    batch_seconds=round(seconds, 3),
                    idle_seconds=round(idle, 3),
                )
                self._banned.add(model)
                self._ban(model)
