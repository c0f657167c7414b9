"""The search for equal rows of a batch, which the model evaluates once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adcaptum.engine.execution.devices.clock import batch_clock
from adcaptum.engine.rows.distinct import Distinct, Duplicates
from adcaptum.service.models.served_model import ServedModel


class EqualRows:
    """The search for equal rows in one batch.

    Attributes:
        rows: The number of rows that are evaluated.
    """

    __slots__ = ("_duplicates", "_row_seconds", "rows")

    def __init__(self, duplicates: Duplicates, row_seconds: float, rows: int) -> None:
        self._duplicates = duplicates
        self._row_seconds = row_seconds
        self.rows = rows

    def __call__(self, tensors: Sequence[Tensor]) -> Distinct | None:
        """Returns the distinct rows; None where evaluating all costs less."""
        found = self._duplicates.look(tensors, self._row_seconds)
        if found is not None:
            self.rows = len(found.rows[0])
        return found


class EqualRowsByModel:
    """The searches of all models, with the record of whether each has paid."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._duplicates: dict[ServedModel, Duplicates] = {}

    def forget(self, model: ServedModel) -> None:
        """Forgets a model that has no more batches."""
        self._duplicates.pop(model, None)

    def search(self, model: ServedModel, row_seconds: float, rows: int) -> EqualRows | None:
        """Returns the search for a batch; None where rows depend on each other.

        Args:
            model: The model of the batch.
            row_seconds: The time that one more row takes.
            rows: The rows of the batch.
        """
        if not model.checks.independent:
            return None
        duplicates = self._duplicates.get(model)
        if duplicates is None:
            duplicates = self._duplicates[model] = Duplicates(batch_clock(self._device))
        return EqualRows(duplicates, row_seconds, rows)
