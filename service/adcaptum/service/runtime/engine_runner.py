"""Who takes the turns: device threads, or the event loop itself.

A loop without threads takes its turns in the event loop, one batch a turn, and lets it breathe in
between. What a turn is, and what guards what, stands in `turns`.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final

import torch

from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.service import logs
from adcaptum.service.device import streams
from adcaptum.service.device.streams import Stream
from adcaptum.service.errors import Cancelled
from adcaptum.service.metrics import Metrics
from adcaptum.service.runtime.engine_core import EngineCore, Step
from adcaptum.service.runtime.work import JobPayload, Work

IDLE_PASSES: Final = 8
"""For how many passes of the event loop, of some microseconds each, requests that arrive are
awaited.

Without threads, saliency of a small model by 32 callers: 1.05 requests a batch and 960 a second
with 0, 4 a batch and 2,100 a second with 10, no more with 40.
"""

YIELDS_BETWEEN_STEPS: Final = 24
"""How many passes of the event loop there are between turns while rows wait.

A request that arrives needs several of them before it is one, and so does an answer that leaves:
with one pass a turn each of these steps would wait for a batch. Predictions of a small model,
beside 8 clients that explain: 12 ms in the median with 1, 1.8 with 24, and as many explanations.
"""

MOST_ARRIVALS: Final = 256
"""How many requests are awaited at most."""


class EngineRunner:
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
        self._turns = EngineCore(
            device, metrics, target_batch_seconds=target_batch_seconds, tell=self._tell
        )
        self._device = device
        self._loop = loop
        self._crashed = crashed
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._threaded = threaded
        self._turn_is_due = False
        self._passes = 0
        self._seen = 0
        self._breaths = 0

    @property
    def batch_sizer(self) -> BatchSizer:
        """How many rows a batch may have."""
        return self._turns.batch_sizer

    @property
    def waiting_rows(self) -> int:
        """How many rows wait; may be read by any thread."""
        return self._turns.scheduler.waiting_rows

    @property
    def scheduler(self) -> Scheduler[JobPayload]:
        """What divides the device; its counts may be read by any thread."""
        return self._turns.scheduler

    def start(self, threads: int, intra_op_threads: int) -> None:
        """Starts the device threads, once the models are where they are evaluated.

        Args:
            threads: How many.
            intra_op_threads: How many threads PyTorch uses inside an operation of each.
        """
        self._turns.measure_memory(threads)
        for index in range(threads):
            thread = threading.Thread(
                target=self._run, args=(intra_op_threads,), name=f"device-{index}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads after their batches; works that are left fail."""
        with self._turns.condition:
            self._stopping = True
            self._turns.condition.notify_all()
        for thread in self._threads:
            thread.join()
        left = {job.request.name: None for job in self._turns.left()}
        ended = [work for work in (*left, *self._turns.inbox) if isinstance(work, Work)]
        for work in ended:
            with work.lock:
                work.fail(Cancelled("the server has stopped"))
        self._tell(ended, [])

    def submit(self, work: Work) -> None:
        """Has a work done, whatever there is to do already. To be called in the event loop."""
        with self._turns.condition:
            self._turns.scheduler.announce(work.request)
            self._turns.inbox.append(work)
            self._turns.condition.notify()
        self._wake()

    def cancel(self, work: Work, reason: str) -> None:
        """Has a work stopped; does nothing if it has ended. To be called in the event loop.

        Args:
            work: What to stop.
            reason: For the metrics: `cancelled` or `deadline`.
        """
        with self._turns.condition:
            self._turns.cancelled.append((work, reason))
            # Waiting rows go at once; the flow is closed by a device thread.
            self._turns.scheduler.cancel(work.request)
            self._turns.condition.notify()
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
        waiting = len(self._turns.inbox)
        if self._breaths:
            self._breaths -= 1
            self._loop.call_soon(self._turn_in_loop)
            return
        self._passes = self._passes + 1 if waiting == self._seen else 0
        self._seen = waiting
        if 0 < waiting < MOST_ARRIVALS and self._passes < IDLE_PASSES:
            self._loop.call_soon(self._turn_in_loop)
            return
        self._turn_is_due = False
        try:
            with self._turns.condition:
                taken = self._turns.take()
            self._turns.run(taken)
        except BaseException as error:
            logs.logger().exception("the engine failed")
            self._crashed(error)
            raise
        if self._turns.inbox or self._turns.cancelled or self._turns.scheduler.waiting_rows:
            self._wake()
            self._breaths = YIELDS_BETWEEN_STEPS

    def _run(self, intra_op_threads: int) -> None:
        torch.set_num_threads(intra_op_threads)
        try:
            stream = streams.stream(self._device)
            while not self._stopping:
                self._take_turn(stream)
        except BaseException as error:
            logs.logger().exception("a device thread failed")
            self._loop.call_soon_threadsafe(self._crashed, error)
            raise

    def _take_turn(self, stream: Stream) -> None:
        # A function of its own: a thread that waits shall not keep what it last had in hand.
        with self._turns.condition:
            taken = self._next()
        self._turns.run(taken, stream)

    def _next(self) -> Step:
        """Waits until there is something to do, and takes it. Holds the condition."""
        while True:
            taken = self._turns.take()
            if any(taken) or self._stopping:
                if self._turns.scheduler.waiting_rows:
                    # There is work for one more thread; it will wake the next.
                    self._turns.condition.notify()
                return taken
            self._turns.condition.wait()

    def _tell(self, ended: Sequence[Work], news: Sequence[Work]) -> None:
        if not (ended or news):
            return
        if self._threaded:
            self._loop.call_soon_threadsafe(_deliver, ended, news)
        else:
            _deliver(ended, news)


def _deliver(ended: Sequence[Work], news: Sequence[Work]) -> None:
    for work in ended:
        if not work.finished.done():
            work.finished.set_result(None)
        work.release()
    for work in news:
        if work.progressed is not None and not work.ended:
            work.progressed()
