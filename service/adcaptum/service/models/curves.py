"""Curves: the seconds of a model's batches by their rows, measured before it serves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adcaptum.engine.execution.devices.device_errors import is_out_of_memory
from adcaptum.engine.execution.packing import RowRange
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.models.checks import example_batch
from adcaptum.service.models.layouts import trials
from adcaptum.service.models.served_model import ServedModel

MOST_ROWS: Final = 256
"""The largest batch that is measured; the engine learns the seconds of larger ones by serving."""

Curve = Mapping[int, float]
"""Seconds of a batch by its number of rows."""

NO_MEMORY: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({})
"""No measured memory."""


def curves(model: ServedModel, target_batch_seconds: float) -> Mapping[str, Curve]:
    """Measures the seconds of batches by their rows, without and with gradients.

    Args:
        model: The model.
        target_batch_seconds: The longest batch to measure, in seconds.
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
    """Measures the device memory of batches in bytes; nothing where the device does not report it.

    Args:
        model: The model.
        measured: Its curves, of which the largest batch of each is measured.

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
        batch_seconds(model, batch)
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
            seconds = min(batch_seconds(model, batch) for _ in range(2))
        except (RuntimeError, MemoryError) as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
            break
        measured[rows] = seconds
        if seconds > target_seconds:
            break
        rows *= 2
    return measured


def best_rows(curve: Curve) -> int:
    """Returns the rows of the batch in which a row costs least."""
    return min(curve, key=lambda rows: curve[rows] / rows)


def row_seconds(curve: Curve) -> float:
    """Returns the seconds of a row in the best of a curve's batches."""
    return min(seconds / rows for rows, seconds in curve.items())


def batch_seconds(model: ServedModel, batch: RowRange) -> float:
    """Returns the seconds of a batch."""
    return trials.seconds(model.module(batch.evaluation), [batch])
