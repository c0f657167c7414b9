"""The memory that a flow holds between the batches of its rows, counted while it runs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import torch
from torch import nn

from adcaptum.engine import Explicand
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.vocabulary.method import Method

BATCH_ROWS = 64


def held_most(
    model: nn.Module,
    method: Method,
    explicand: Explicand,
    batch_rows: int = BATCH_ROWS,
    *,
    objects: bool = False,
) -> int:
    """Runs a flow and returns the most bytes of tensors that it held between two batches.

    Args:
        model: The model.
        method: The method.
        explicand: The explicand.
        batch_rows: The rows of a batch.
        objects: Whether Python's objects and NumPy's arrays count, too, which takes far longer.
    """
    if objects:
        tracemalloc.start(1)
    gc.collect()
    before = _storages()
    # What is there already is looked at no more.
    gc.freeze()
    try:
        return max(
            sum(nbytes for place, nbytes in _storages().items() if place not in before)
            + tracemalloc.get_traced_memory()[0]
            for _ in _rounds(model, method, explicand, batch_rows)
        )
    finally:
        gc.unfreeze()
        tracemalloc.stop()


def _storages() -> dict[int, int]:
    """Returns place and bytes of every storage of a tensor that Python objects refer to."""
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    storages = [each.untyped_storage() for each in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _rounds(
    model: nn.Module, method: Method, explicand: Explicand, batch_rows: int
) -> Iterator[None]:
    """Runs a flow, with a stop before and after each round's rows are evaluated."""
    execution = FlowRun(method.flow(explicand))
    pending = execution.start()
    yield
    while not execution.done:
        for i in range(len(pending)):
            _evaluate(model, pending[i], batch_rows)
        yield
        pending = execution.advance()
        yield
    assert execution.result is not None


def _evaluate(model: nn.Module, pending: Pending, batch_rows: int) -> None:
    """Evaluates an evaluation; a function of its own, so that nothing else holds its results."""
    for start in range(0, pending.rows, batch_rows):
        stop = min(start + batch_rows, pending.rows)
        (part,) = evaluate(model, [RowRange(pending.evaluation, start, stop)])
        pending.add(start, stop, part)
