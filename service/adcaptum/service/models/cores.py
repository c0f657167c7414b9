"""The division of the cores between device threads and PyTorch's threads inside an operation."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

import torch

from adcaptum.service.device.run_delay import RunDelay
from adcaptum.service.device.streams import CUDA_THREADS
from adcaptum.service.models.checks import example_batch
from adcaptum.service.models.curves import Curve, batch_seconds, best_rows, row_seconds
from adcaptum.service.models.served_model import ServedModel

TRIAL_SECONDS: Final = 0.05
"""Seconds of a trial of one division."""

ROUNDS: Final = 5
"""The trials of each division, in turns."""

WORTH: Final = 1.2
"""The speed-up that more threads must bring, in every round but one: they take cores from gRPC."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Numbers of threads.

    Attributes:
        device: Threads that run batches.
        intra_op: Threads that PyTorch uses inside an operation of each.
    """

    device: int
    intra_op: int


def divide_cores(
    models: list[ServedModel], gradient_curves: Mapping[ServedModel, Curve], device: torch.device
) -> Threads:
    """Chooses the numbers of threads by trial on the model whose rows cost most.

    A CUDA device gets two threads: while it runs the batch of one, the other prepares the next.
    """
    cores = len(os.sched_getaffinity(0))
    if device.type == "cuda":
        return Threads(CUDA_THREADS, 1)
    if device.type != "cpu" or cores == 1 or not models:
        return Threads(1, 1)

    model = max(models, key=lambda each: row_seconds(gradient_curves[each]))
    curve = gradient_curves[model]
    rows = best_rows(curve)
    candidates = [Threads(1, 1), Threads(2, max(1, cores // 2))]
    candidates += [Threads(cores, 1)] if cores > 2 else []
    candidates.append(Threads(1, cores))
    rates = {candidate: list[float]() for candidate in candidates}
    for _ in range(ROUNDS):
        for candidate in candidates:
            rates[candidate].append(_rate(model, rows, candidate))
    return best_division(rates)


def best_division(rates: Mapping[Threads, Sequence[float]]) -> Threads:
    """Returns the first division, or the best of those that are clearly faster.

    A median would fall on one side at one start and on the other at the next, where a division is
    about as much faster as it must be.

    Args:
        rates: The rows a second of each division, in the rounds of the trial; the first one is the
            usual one.
    """
    (usual, least), *others = rates.items()
    best, gain = usual, 1.0
    for candidate, own in others:
        gains = [rate / before for rate, before in zip(own, least, strict=True)]
        if sorted(gains)[1] > WORTH and median(gains) > gain:
            best, gain = candidate, median(gains)
    return best


def _rate(model: ServedModel, rows: int, threads: Threads) -> float:
    """Returns the rows a second of some threads, as if nothing else used the cores."""
    batch = example_batch(model.loaded, model.checks, rows, gradient=model.checks.differentiable)

    def work() -> float:
        torch.set_num_threads(threads.intra_op)
        delay = RunDelay()
        batch_seconds(model, batch)
        begin, waited, batches = perf_counter(), delay.seconds(), 0
        while (seconds := perf_counter() - begin) < TRIAL_SECONDS:
            batch_seconds(model, batch)
            batches += 1
        seconds -= delay.seconds() - waited
        delay.close()
        return batches * rows / seconds

    with ThreadPoolExecutor(threads.device) as pool:
        return sum(future.result() for future in [pool.submit(work) for _ in range(threads.device)])
