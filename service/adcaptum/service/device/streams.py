"""Where batches run on an accelerator: beside each other, and beside everything else.

Two threads have each a stream of its own, so that the next batch is packed and launched while the
device runs one.

Rules, on CUDA:
1. A batch is packed, launched and awaited on the stream of its thread. Everything else (copies of
   inputs, what flows compute, folds, answers) is told to the device's default stream, by whatever
   thread: there it happens in the order in which it was told, as locks in this process have it.
2. A batch begins when the default stream has come to where it is now: what the batch reads is
   there, and what earlier batches gave has been folded.
3. A batch ends when its own stream has done all of it, also where it failed: until then somebody
   holds what it reads. The rest of the device is not waited for.
4. What a batch gives was made on its stream, and is read on the default stream: the allocator is
   told, or it would give the memory to the next batch too early.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from adcaptum.engine.execution.parts import Part

CUDA_THREADS = 2
"""How many device threads a CUDA device has: one whose batch it runs, one that has the next."""


class Stream(Protocol):
    """Where the batches of a device thread run."""

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch to its end."""
        ...


class Here:
    """Where batches run at once: a processor."""

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch."""
        return batch()


class SideStream:
    """A stream of CUDA, of one device thread."""

    def __init__(self, device: torch.device) -> None:
        self._own = torch.cuda.Stream(device)
        self._default = torch.cuda.default_stream(device)

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        """Runs a batch to its end."""
        self._own.wait_stream(self._default)
        try:
            with torch.cuda.stream(self._own):
                parts = batch()
        finally:
            self._own.synchronize()
        for part in parts:
            for made in tensors(part):
                made.record_stream(self._default)
        return parts


HERE = Here()


def stream(device: torch.device) -> Stream:
    """Returns where a new device thread runs its batches."""
    return SideStream(device) if device.type == "cuda" else HERE


def tensors(part: Part) -> Sequence[Tensor]:
    """Returns all tensors of what a batch gives."""
    compared = () if part.reference_values is None else (part.reference_values,)
    return (part.values, *part.gradients, *part.activations, *compared)
