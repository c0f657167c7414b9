"""The batch evaluator: evaluates batches, and measures what they take."""

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

import torch

from adcaptum.engine.execution.devices.device_errors import is_lasting
from adcaptum.engine.execution.parts import Part
from adcaptum.service.device.batch_cost import BatchCost
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.device.float32 import evaluate
from adcaptum.service.device.streams import Stream
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.batch_sizes import BatchSizes
from adcaptum.service.runtime.batches.equal_rows import EqualRowsByModel
from adcaptum.service.runtime.step import EngineBatch, RunningBatches
from adcaptum.service.runtime.work import Work


class Evaluated(NamedTuple):
    """The results of a batch.

    Attributes:
        parts: The results of each slice.
        rows: The number of distinct rows.
        begin: When it began, on the monotonic clock.
        seconds: Its wall time.
        cost: Its computation, in seconds.
        nbytes: The memory that it took; None: not known.
    """

    parts: list[Part]
    rows: int
    begin: float
    seconds: float
    cost: float
    nbytes: int | None


class BatchEvaluator:
    """The evaluator of one lane's batches; any thread may use it."""

    def __init__(self, device: torch.device, sizes: BatchSizes, running: RunningBatches) -> None:
        """Prepares it.

        Args:
            device: The device of the models.
            sizes: The time of rows.
            running: Where batches are noted while they run.
        """
        self._sizes = sizes
        self._running = running
        self._memory = BatchMemory.of(device)
        self._cost = BatchCost(device)
        self._equal_rows = EqualRowsByModel(device)

    def forget(self, model: ServedModel) -> None:
        """Forgets a model that has no more batches."""
        self._equal_rows.forget(model)

    def evaluate(self, batch: EngineBatch, works: Sequence[Work], stream: Stream) -> Evaluated:
        """Evaluates a batch.

        Args:
            batch: The batch.
            works: The works that have rows in it.
            stream: Where it runs.

        Raises:
            RuntimeError: The device is of no use to this process any more. The batch counts as
                running, so that the journal keeps whose rows did it.
            Exception: It failed.
        """
        model, begin, cost_of = works[0].model, monotonic(), self._cost.begin()
        row_seconds = self._sizes.row_seconds(batch.key)
        equal_rows = self._equal_rows.search(model, row_seconds, batch.rows)
        for work in works:
            work.computing.begin(begin)
        begun, lasting = self._memory.begin(), False
        pieces = [job.payload.slice(start, stop) for job, start, stop in batch.slices]
        self._running.begin(model, batch, row_seconds)
        try:
            module = model.module(pieces[0].evaluation)
            run = partial(evaluate, module, pieces, deduplicate=equal_rows, memory=model.references)
            parts = stream.run(run)
        except Exception as error:
            lasting = is_lasting(error)
            raise
        finally:
            if not lasting:
                self._running.end()
            nbytes, end, cost = self._memory.end(begun), monotonic(), cost_of()
            for work in works:
                work.computing.end(end)
        rows = batch.rows if equal_rows is None else equal_rows.rows
        return Evaluated(parts, rows, begin, end - begin, cost, nbytes)
