"""Measures a model before it serves: seconds over rows, and how many threads to use."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Final

import torch

from adcaptum.engine.execution.packing import RowRange
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.device.streams import CUDA_THREADS
from adcaptum.service.models.checks import example_batch
from adcaptum.service.models.layouts import trials
from adcaptum.service.models.served_model import ServedModel

MOST_ROWS: Final = 256
"""The largest batch of the warm-up; beyond it the engine learns by serving."""

TRIAL_SECONDS: Final = 0.15
"""How long each division of the cores is tried."""

WORTH: Final = 1.2
"""More threads must be this much faster: they take cores from gRPC."""


@dataclass(frozen=True, slots=True)
class Threads:
    """How the cores are divided.

    Attributes:
        device: Threads that run batches.
        intra_op: Threads that PyTorch uses inside an operation of each.
    """

    device: int
    intra_op: int


Curve = Mapping[int, float]

NO_MEMORY: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({})
"""Nothing is known of the memory that batches take."""


def curves(model: ServedModel, target_batch_seconds: float) -> Mapping[str, Curve]:
    """Measures the seconds that batches take, by their rows, without and with gradients.

    Args:
        model: A model that was checked.
        target_batch_seconds: How long a batch may take; longer ones are not tried.
    """
    kinds = {"forward": False}
    if model.checks.differentiable:
        kinds["gradient"] = True
    most = MOST_ROWS if model.checks.independent else 1
    return {
        kind: _curve(model, most, target_batch_seconds, gradient=gradient)
        for kind, gradient in kinds.items()
    }


def memory(model: ServedModel, measured: Mapping[str, Curve]) -> Mapping[str, tuple[int, int]]:
    """Measures the bytes that a batch takes, where the device tells; nothing elsewhere.

    Args:
        model: A model that was checked.
        measured: Its curves: the largest batch of each tells most.

    Returns:
        The rows of a batch and its bytes, by kind.
    """
    if model.loaded.device.type != "cuda":
        return NO_MEMORY
    found = {}
    for kind, curve in measured.items():
        rows = max(curve)
        batch = example_batch(model.loaded, model.checks, rows, gradient=kind == "gradient")
        meter = BatchMemory.of(model.loaded.device)
        begun = meter.begin()
        _seconds(model, batch)
        nbytes = meter.end(begun)
        if nbytes is not None:
            found[kind] = (rows, nbytes)
    return found


def _curve(
    model: ServedModel, most: int, target_seconds: float, *, gradient: bool
) -> dict[int, float]:
    measured: dict[int, float] = {}
    rows = 1
    while rows <= most:
        batch = example_batch(model.loaded, model.checks, rows, gradient=gradient)
        try:
            # The first run of a size chooses kernels and maps memory.
            seconds = min(_seconds(model, batch) for _ in range(2))
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
            break
        measured[rows] = seconds
        if seconds > target_seconds:
            break
        rows *= 2
    return measured


def best_rows(curve: Curve) -> int:
    """Returns the size of batch in which a row costs least."""
    return min(curve, key=lambda rows: curve[rows] / rows)


def row_seconds(curve: Curve) -> float:
    """Returns what a row takes in the best of a curve's batches, in seconds."""
    return min(seconds / rows for rows, seconds in curve.items())


def divide_cores(
    models: list[ServedModel], gradient_curves: Mapping[ServedModel, Curve], device: torch.device
) -> Threads:
    """Chooses the number of threads by trying it on the model whose rows cost most.

    A CUDA device has one thread whose batch it runs, and one that has the next ready.
    """
    cores = len(os.sched_getaffinity(0))
    if device.type == "cuda":
        return Threads(CUDA_THREADS, 1)
    if device.type != "cpu" or cores == 1 or not models:
        return Threads(1, 1)

    model = max(models, key=lambda each: row_seconds(gradient_curves[each]))
    curve = gradient_curves[model]
    rows = best_rows(curve)
    candidates = [Threads(1, 1), Threads(1, cores), Threads(2, max(1, cores // 2))]
    candidates += [Threads(cores, 1)] if cores > 2 else []
    best, best_rate = candidates[0], 0.0
    for candidate in candidates:
        rate = _rate(model, rows, candidate)
        if rate > best_rate * (WORTH if best_rate else 1.0):
            best, best_rate = candidate, rate
    return best


def _rate(model: ServedModel, rows: int, threads: Threads) -> float:
    batch = example_batch(model.loaded, model.checks, rows, gradient=model.checks.differentiable)

    def work() -> float:
        torch.set_num_threads(threads.intra_op)
        _seconds(model, batch)
        begin, batches = perf_counter(), 0
        while perf_counter() - begin < TRIAL_SECONDS:
            _seconds(model, batch)
            batches += 1
        return batches * rows / (perf_counter() - begin)

    with ThreadPoolExecutor(threads.device) as pool:
        return sum(future.result() for future in [pool.submit(work) for _ in range(threads.device)])


def _seconds(model: ServedModel, batch: RowRange) -> float:
    return trials.seconds(model.module(batch.evaluation), [batch])
