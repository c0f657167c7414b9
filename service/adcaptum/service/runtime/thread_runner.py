"""The thread runner: device threads step the core."""

import threading
from time import monotonic
from typing import Final

import torch

from adcaptum.service import logs
from adcaptum.service.device import streams
from adcaptum.service.device.streams import Stream
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner, EngineSetup

MOST_REPLACED: Final = 16
"""The most device threads that are replaced because a model is stuck in them."""


class ThreadRunner(EngineRunner):
    """The runner of works in device threads.

    It replaces a thread whose model is stuck in a batch, so that other models go on. The old thread
    ends with the batch, if that ever returns: Python cannot end a thread from outside.
    """

    def __init__(self, setup: EngineSetup) -> None:
        """Prepares the runner; `start` starts its threads."""
        super().__init__(setup)
        self._threads: list[threading.Thread] = []
        self._intra_op = 1
        self._replaced: set[int] = set()
        self._outdated: set[threading.Thread] = set()

    def start(self, threads: Threads) -> None:
        """Starts the device threads; those of an earlier call end after their batches.

        Args:
            threads: Their number, and that of PyTorch's inside an operation of each.
        """
        self.core.sizes.measure_memory(threads.device)
        self._intra_op = threads.intra_op
        self._outdated.update(thread for thread in self._threads if thread.is_alive())
        self.core.queue.wake_all()
        for _ in range(threads.device):
            self._start_thread()

    def stop(self, seconds: float) -> bool:
        """Ends the threads after their batches."""
        self.core.queue.close()
        end = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def replace_stuck(self, seconds: float) -> set[ServedModel]:
        """Replaces the threads that have been in one batch for longer than some seconds.

        Returns:
            The models that are stuck.
        """
        stuck, now = set(), monotonic()
        for thread, batch in self.core.running:
            if now - batch.begin <= seconds:
                continue
            stuck.add(batch.model)
            if thread not in self._replaced and len(self._replaced) < MOST_REPLACED:
                self._replaced.add(thread)
                self._start_thread()
        return stuck

    def _start_thread(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        name = f"device-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        torch.set_num_threads(self._intra_op)
        try:
            stream = streams.stream(self._device, self._metrics)
            while self._step(stream):
                pass
        except BaseException as error:
            logs.logger().exception("a device thread failed")
            self._loop.call_soon_threadsafe(self._crashed, error)
            raise
        finally:
            self.core.pace.forget()
            self._replaced.discard(threading.get_ident())
            self._outdated.discard(threading.current_thread())

    def _step(self, stream: Stream) -> bool:
        # A function of its own: a waiting thread must not keep its last batch in memory.
        step = self.core.queue.wait(self._is_wanted)
        if step is None:
            return False
        self.core.step(step, stream)
        return True

    def _is_wanted(self) -> bool:
        replaced = threading.get_ident() in self._replaced
        return not replaced and threading.current_thread() not in self._outdated
