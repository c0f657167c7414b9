"""The clock of batches."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

import torch


def batch_clock(device: torch.device) -> Callable[[], float]:
    """Returns the clock, in seconds, for the cost of batches on a device.

    Where one thread does all of the work, it is that thread's processor time, which other programs
    do not change: with wall time, a busy machine would learn small batches, which cost more a row
    and make it busier.

    CUDA works asynchronously: its clock first waits for the calling thread's current stream.
    """
    if device.type == "cuda":
        return lambda: _when_done(device)
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return thread_time if alone else perf_counter


def _when_done(device: torch.device) -> float:
    torch.cuda.current_stream(device).synchronize()
    return perf_counter()
