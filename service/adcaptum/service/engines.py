"""The engine loops of a device: one for models whose rows are light, one for the others.

Threads of one process share Python's lock. Where a row costs a few microseconds, handing it to a
device thread and back costs more than evaluating it: a small table model, saliency, 32 callers:
1.1 ms of processor time a request with device threads, 0.5 without. So such rows are evaluated in
the event loop itself, in batches so short that nobody notices; rows of all other models in device
threads, which run while the event loop reads requests.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import torch

from adcaptum.service.engine_loop import EngineLoop
from adcaptum.service.metrics import Metrics
from adcaptum.service.served_model import ServedModel
from adcaptum.service.warm_up import Curve, Threads

LIGHT_ROW_SECONDS: Final = 50e-6
"""What a row of a light model costs at most, in a batch of the best size."""

LIGHT_BATCH_SECONDS: Final = 0.005
"""How long a batch of a light model may keep the event loop."""


class Engines:
    """Runs the works of one device."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: torch.device,
        metrics: Metrics,
        *,
        target_batch_seconds: float,
        crashed: Callable[[BaseException], None],
    ) -> None:
        """Prepares them; `start` starts them.

        Args:
            loop: Where works are awaited.
            device: Where models are.
            metrics: What to count.
            target_batch_seconds: How long a batch may take.
            crashed: Called in the event loop if an engine fails, which is a fault of ours.
        """
        self._device = device
        self._heavy = EngineLoop(
            loop, device, metrics, target_batch_seconds=target_batch_seconds, crashed=crashed
        )
        self._light = EngineLoop(
            loop,
            device,
            metrics,
            target_batch_seconds=min(target_batch_seconds, LIGHT_BATCH_SECONDS),
            crashed=crashed,
            threaded=False,
        )
        self._of: dict[ServedModel, EngineLoop] = {}
        self._row_seconds: dict[ServedModel, dict[str, float]] = {}
        self._threads = 1
        metrics.queue_rows.labels(str(device)).set_function(lambda: self.waiting_rows)

    @property
    def waiting_rows(self) -> int:
        """How many rows wait."""
        return self._heavy.waiting_rows + self._light.waiting_rows

    def add(self, model: ServedModel, curves: Mapping[str, Curve]) -> None:
        """Takes a model, with the seconds of its batches by their rows, for each kind."""
        row_seconds = self._row_seconds[model] = {
            kind: min(seconds / rows for rows, seconds in curve.items())
            for kind, curve in curves.items()
        }
        most = max(row_seconds.values())
        light = self._device.type == "cpu" and most <= LIGHT_ROW_SECONDS
        engine = self._of[model] = self._light if light else self._heavy
        for kind, curve in curves.items():
            engine.capacity.seed((model, kind), curve)

    def of(self, model: ServedModel) -> EngineLoop:
        """Returns what runs a model's works."""
        return self._of[model]

    def is_light(self, model: ServedModel) -> bool:
        """Whether a model's rows are evaluated in the event loop."""
        return self._of[model] is self._light

    def seconds(self, model: ServedModel, rows: Mapping[str, int]) -> float:
        """Estimates how long rows take, by kind, with the whole device for them alone."""
        row_seconds = self._row_seconds[model]
        total = sum(row_seconds.get(kind, 0.0) * count for kind, count in rows.items())
        return total if self.is_light(model) else total / self._threads

    def start(self, threads: Threads) -> None:
        """Starts the device threads. To be called in the event loop."""
        torch.set_num_threads(1)
        self._threads = threads.device
        self._heavy.start(threads.device, threads.intra_op)

    async def stop(self) -> None:
        """Ends the threads after their batches; works that are left fail."""
        self._light.stop()
        await asyncio.to_thread(self._heavy.stop)
