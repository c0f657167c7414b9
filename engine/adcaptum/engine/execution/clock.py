"""What batches are timed with, to learn from."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

import torch


def batch_clock(device: torch.device) -> Callable[[], float]:
    """The clock, in seconds, that tells what a batch costs on a device.

    Where one thread does all of the work, its processor time tells that, whatever else the machine
    does meanwhile: learnt from wall time, a busy machine would get small batches, which cost more a
    row and make it busier.

    CUDA runs what it is told to when it can: its clock first waits for all that the calling thread
    has told it on its current stream, or batches would seem to take as long as it takes to ask for
    them.
    """
    if device.type == "cuda":
        return lambda: _when_done(device)
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return thread_time if alone else perf_counter


def _when_done(device: torch.device) -> float:
    torch.cuda.current_stream(device).synchronize()
    return perf_counter()
