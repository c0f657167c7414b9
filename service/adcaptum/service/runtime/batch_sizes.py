"""The sizes of a device's batches, and the time that rows take, by model and kind of rows."""

from collections.abc import Hashable, Mapping
from typing import Final, cast

import torch

from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.vocabulary.evaluation import signature_bytes
from adcaptum.service.models.checks import example_batch
from adcaptum.service.models.curves import Curve
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import RowCounts
from adcaptum.service.runtime.job_payload import EngineKey

MEMORY_SHARE: Final = 0.8
"""The share of an accelerator's free memory that batches may take."""

MOST_ROWS: Final = 4096
"""The most rows in a batch, whatever a device could hold."""

MOST_BYTES: Final = 64 << 20
"""The most bytes of rows in a batch on a processor, where no error says that memory runs out: the
kernel ends the process. What a model computes of them takes some times as many (ADR 90)."""


class BatchSizes:
    """Batch sizes, learnt from evaluated batches.

    Attributes:
        sizer: The engine's batch sizer.
    """

    def __init__(self, device: torch.device, target_batch_seconds: float) -> None:
        """Prepares the sizes.

        Args:
            device: The device of the models.
            target_batch_seconds: The longest time of a batch.
        """
        self.sizer = BatchSizer(
            target_seconds=target_batch_seconds,
            max_rows=self._most_rows,
            kind=batch_kind,
            size=_input_bytes,
        )
        self._device = device

    def seed(
        self,
        model: ServedModel,
        curves: Mapping[str, Curve],
        memory: Mapping[str, tuple[int, int]],
    ) -> None:
        """Starts the curves of a model from the measurements at load.

        Args:
            model: The model.
            curves: The seconds of its batches by their rows, for each kind.
            memory: The rows and the bytes of a batch, for each kind of which they are known.
        """
        for kind, curve in curves.items():
            example = example_batch(model.loaded, model.checks, 1, gradient=kind == "gradient")
            size = _input_bytes((model, example.evaluation.key))
            self.sizer.seed((model, kind), curve, memory.get(kind), size)

    def forget(self, model: ServedModel) -> None:
        """Forgets a model that has no more batches."""
        self.sizer.forget(lambda kind: cast("tuple[ServedModel, str]", kind)[0] is model)

    def row_seconds(self, key: Hashable) -> float:
        """Returns the time that one more row of a key takes in a batch."""
        return self.sizer.line(key).row

    def seconds(self, model: ServedModel, rows: RowCounts, row_bytes: int) -> float:
        """Estimates the time of rows that have the device for themselves.

        Args:
            model: The model.
            rows: The numbers of rows, by kind.
            row_bytes: The bytes of an example's inputs.
        """
        lines = {kind: self.sizer.kind_line((model, kind), max(1, row_bytes)) for kind in rows}
        return sum([lines[kind].seconds(number) for kind, number in rows.items()])

    def measure_memory(self, threads: int) -> None:
        """Bounds batches by the memory that the device has left, where it can be read.

        Args:
            threads: The number of batches that will share it.
        """
        if self._device.type == "cuda":
            # Batches run on streams of their own, which cannot use the default stream's cache.
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info(self._device)
            self.sizer.memory_bytes = MEMORY_SHARE * free / max(1, threads)

    def _most_rows(self, key: Hashable) -> int:
        model, evaluation_key = cast("EngineKey", key)
        if not model.checks.independent:
            return 1
        if self._device.type != "cpu":
            return MOST_ROWS
        return max(1, min(MOST_ROWS, MOST_BYTES // max(1, evaluation_key.row_bytes)))


def batch_kind(key: Hashable) -> Hashable:
    """Returns the kind of a key, whose rows cost the same: the model, with or without gradients."""
    model, evaluation_key = cast("EngineKey", key)
    return model, evaluation_key[0]


def _input_bytes(key: Hashable) -> int:
    _, evaluation_key = cast("EngineKey", key)
    return max(1, signature_bytes(evaluation_key.fed[0]))
