"""The division of the cores between device threads and PyTorch's threads inside an operation."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import torch

from adcaptum.service.device.streams import CUDA_THREADS
from adcaptum.service.models.checks import example_batch
from adcaptum.service.models.curves import Curve, batch_seconds, best_rows, row_seconds
from adcaptum.service.models.served_model import ServedModel

TRIAL_SECONDS: Final = 0.05
"""Seconds of a trial of one division."""

ROUNDS: Final = 3
"""The trials of each division, in turns: the best counts, because other processes only slow."""

WORTH: Final = 1.2
"""The speed-up that more threads must bring: they take cores from gRPC."""


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
    rates = dict.fromkeys(candidates, 0.0)
    for _ in range(ROUNDS):
        for candidate in candidates:
            rates[candidate] = max(rates[candidate], _rate(model, rows, candidate))
    best = candidates[0]
    for candidate, rate in rates.items():
        if rate > rates[best] * WORTH:
            best = candidate
    return best


def _rate(model: ServedModel, rows: int, threads: Threads) -> float:
    batch = example_batch(model.loaded, model.checks, rows, gradient=model.checks.differentiable)

    def work() -> float:
        torch.set_num_threads(threads.intra_op)
        batch_seconds(model, batch)
        begin, batches = perf_counter(), 0
        while perf_counter() - begin < TRIAL_SECONDS:
            batch_seconds(model, batch)
            batches += 1
        return batches * rows / (perf_counter() - begin)

    with ThreadPoolExecutor(threads.device) as pool:
        return sum(future.result() for future in [pool.submit(work) for _ in range(threads.device)])
