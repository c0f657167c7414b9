"""Metrics of device batches, with the lookup of each label done once."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from prometheus_client import Counter, Gauge, Histogram

from adcaptum.engine.scheduling.batch import Batch, Update
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.device.driver_readings import readings
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.job_payload import JobPayload


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
    """The counters of one device's batches.

    Wasted rows are evaluated rows whose results nobody receives.
    """

    def __init__(self, metrics: Metrics, device: torch.device) -> None:
        self._metrics = metrics
        self._children: dict[tuple[str, str], _Children] = {}
        self._busy = metrics.device_busy_seconds.labels(str(device))
        if device.type == "cuda":
            for gauge, read in (
                (metrics.device_memory, torch.cuda.memory_allocated),
                (metrics.device_reserved, torch.cuda.memory_reserved),
                (metrics.device_retries, _retries),
            ):
                gauge.labels(str(device)).set_function(partial(read, device))
        drivers = {"utilization": metrics.device_utilization, "used_bytes": metrics.device_used}
        for name, reading in readings(device).items():
            drivers[name].labels(str(device)).set_function(reading)

    def observe(
        self,
        model: ServedModel,
        batch: Batch[JobPayload],
        update: Update[JobPayload],
        requests: int,
        seconds: float,
    ) -> None:
        """Counts a batch that was evaluated.

        Args:
            model: Its model.
            batch: The batch.
            update: The scheduler's account of its end.
            requests: The number of requests that have rows in it.
            seconds: Its wall time.
        """
        for piece in update.wasted:
            reason = piece.job.payload.work.waste or "cancelled"
            self.wasted(model, reason, piece.stop - piece.start)
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

    def busy(self, seconds: float) -> None:
        """Counts the part of the device's time that a batch took."""
        self._busy.inc(seconds)

    def wasted(self, model: ServedModel, reason: str, rows: int) -> None:
        """Counts wasted rows."""
        if rows:
            self._metrics.wasted_rows.labels(model.name, reason).inc(rows)

    def out_of_memory(self, model: ServedModel) -> None:
        """Counts a batch that did not fit into memory."""
        self._metrics.out_of_memory.labels(model.name).inc()


def _retries(device: torch.device) -> int:
    """Returns how often the allocator has given back what it kept, because memory ran out."""
    return int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0))
