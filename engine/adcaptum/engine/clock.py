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
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return thread_time if alone else perf_counter
