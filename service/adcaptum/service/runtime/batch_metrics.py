"""What is counted of every device batch, with the labels looked up once."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from prometheus_client import Counter, Gauge, Histogram

from adcaptum.engine.scheduling.batch import Batch
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class _Children:
    rows: Histogram
    seconds: Histogram
    fill: Histogram
    requests: Histogram
    total: Counter
    capacity: Gauge

    @classmethod
    def of(cls, metrics: Metrics, model: str, kind: str) -> Self:
        return cls(
            metrics.batch_rows.labels(model, kind),
            metrics.batch_seconds.labels(model, kind),
            metrics.batch_fill.labels(model, kind),
            metrics.batch_requests.labels(model, kind),
            metrics.rows.labels(model, kind),
            metrics.batch_capacity.labels(model, kind),
        )


class BatchMetrics:
    """Counts the batches of one device."""

    def __init__(self, metrics: Metrics, device: torch.device) -> None:
        self._metrics = metrics
        self._children: dict[tuple[str, str], _Children] = {}
        if device.type == "cuda":
            metrics.device_memory.labels(str(device)).set_function(
                lambda: torch.cuda.memory_allocated(device)
            )

    def observe(self, model: ServedModel, batch: Batch[Any], requests: int, seconds: float) -> None:
        """Counts a batch that was evaluated, with rows of so many requests."""
        first = batch.slices[0].job
        gradient = first.payload.pending.evaluation.wrt is not None
        kind = "gradient" if gradient else "forward"
        if first.request.priority is Priority.PREDICT:
            kind = "predict"
        key = (model.name, kind)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = _Children.of(self._metrics, *key)
        children.rows.observe(batch.rows)
        children.seconds.observe(seconds)
        children.fill.observe(batch.rows / batch.capacity)
        children.requests.observe(requests)
        children.total.inc(batch.rows)
        children.capacity.set(batch.capacity)
