"""Streams: the queues of an accelerator on which batches run.

Each of two threads has a stream of its own, so that the next batch is packed and launched while the
device runs one.

Rules, on CUDA:
1. A batch is packed, launched and awaited on the stream of its thread. All other operations (copies
   of inputs, computations of flows, folds, answers) are queued on the device's default stream, from
   any thread; it runs them in the order of queueing, which the locks of this process determine.
2. A batch begins when the default stream has done all operations queued so far: the batch's rows
   are there, and the results of earlier batches are folded.
3. A batch ends when its own stream has done all of it, also if it failed: until then its inputs
   stay referenced. It does not wait for the rest of the device.
4. The results of a batch are made on its stream and read on the default stream. `record_stream`
   tells the allocator, which would otherwise reuse their memory too early.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from adcaptum.engine.execution.parts import Part
from adcaptum.service.metrics import Metrics

CUDA_THREADS = 2
"""The device threads of a CUDA device: the batch of one runs while the other prepares the next."""


class Stream(Protocol):
    """The place where the batches of a device thread run."""

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch to its end."""
        ...


class Here:
    """The stream of a processor, which runs batches at once."""

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch."""
        return batch()


class SideStream:
    """A stream of CUDA, of one device thread."""

    def __init__(self, device: torch.device, metrics: Metrics) -> None:
        self._launch = metrics.device_launch_seconds.labels(str(device))
        self._wait = metrics.device_wait_seconds.labels(str(device))
        self._own = torch.cuda.Stream(device)
        self._default = torch.cuda.default_stream(device)

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch to its end."""
        begin = perf_counter()
        self._own.wait_stream(self._default)
        try:
            with torch.cuda.stream(self._own):
                parts = batch()
        finally:
            launched = perf_counter()
            self._own.synchronize()
            self._launch.inc(launched - begin)
            self._wait.inc(perf_counter() - launched)
        for part in parts:
            for made in tensors(part):
                if made.is_cuda:  # a layer may give tensors of the processor
                    made.record_stream(self._default)
        return parts


HERE = Here()


def stream(device: torch.device, metrics: Metrics) -> Stream:
    """Returns the stream of a new device thread.

    Args:
        device: The device.
        metrics: The counters of the time of launching and waiting.
    """
    return SideStream(device, metrics) if device.type == "cuda" else HERE


def tensors(part: Part) -> Sequence[Tensor]:
    """Returns all tensors of a batch's results."""
    compared = () if part.reference_values is None else (part.reference_values,)
    return (part.values, *part.gradients, *part.activations, *compared)
