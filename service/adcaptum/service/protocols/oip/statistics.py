"""Statistics of models and virtual models, read from the metrics."""

import time
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from adcaptum.service.protocols.oip.oip_metrics import FAILURE, SUCCESS, ModelMetrics, OipMetrics
from adcaptum.v1 import explanation_pb2

KEPT: Final = (explanation_pb2.CACHE_STATUS_HIT, explanation_pb2.CACHE_STATUS_JOINED)
"""The sources of answers that were computed for another request."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A number of requests and their time.

    Attributes:
        count: The number.
        seconds: The time.
    """

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """The counts of a model.

    Attributes:
        name: The model or virtual model.
        version: Its version.
        success: Answered requests, from arrival to answer.
        failure: Requests that failed.
        queue: The time of answered requests before their first device batch.
        compute: The time in which device batches with their rows ran.
        cached: Those answered with what was kept.
        examples: Their examples.
        batches: Device batches with their rows.
        last: When the last one was answered, in seconds since 1970.
    """

    name: str
    version: str
    success: Duration
    failure: Duration
    queue: Duration
    compute: Duration
    cached: Duration
    examples: int
    batches: int
    last: float


class Statistics:
    """Counts requests, and tells what it has counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Prepares it.

        Args:
            registry: Where the metrics are shown.
        """
        self._metrics = OipMetrics(registry)
        # By name and version, of those that exist: callers' spellings become no label.
        self._known: dict[str, dict[str, ModelMetrics]] = {}

    def succeeded(
        self,
        name: str,
        version: str,
        *,
        seconds: float,
        examples: int,
        timings: explanation_pb2.Timings,
        cache: "explanation_pb2.CacheStatus.ValueType" = explanation_pb2.CACHE_STATUS_UNSPECIFIED,
    ) -> None:
        """Counts a request that was answered.

        Args:
            name: Its model, as the protocol names it.
            version: The version that answered.
            seconds: Its time.
            examples: The number of its examples.
            timings: The parts of its time.
            cache: The source of the answer.
        """
        metrics = self._of(name, version)
        metrics.requests.inc()
        metrics.seconds.inc(seconds)
        metrics.examples.inc(examples)
        metrics.last.set(time.time())
        if cache in KEPT:
            metrics.cached.inc()
            metrics.cached_seconds.inc(seconds)
            return
        metrics.queue_seconds.inc(timings.queue_seconds)
        metrics.compute_seconds.inc(timings.compute_seconds)
        metrics.batches.inc(timings.batches)

    def failed(self, name: str, version: str, seconds: float) -> None:
        """Counts a request that failed, if its model is known to exist.

        Args:
            name: Its model, as the protocol names it.
            version: The version that it names; empty for the default one.
            seconds: Its time.
        """
        versions = self._known.get(name, {})
        metrics = versions.get(version or max(versions, default=""))
        if metrics is not None:
            metrics.failures.inc()
            metrics.failed_seconds.inc(seconds)

    def exists(self, name: str, version: str) -> None:
        """Notes that there is a model or virtual model of this name and version."""
        self._of(name, version)

    def _of(self, name: str, version: str) -> ModelMetrics:
        versions = self._known.setdefault(name, {})
        metrics = versions.get(version)
        if metrics is None:
            metrics = versions[version] = self._metrics.of(name, version)
        return metrics

    def of(self, name: str = "", version: str = "") -> list[ModelStatistics]:
        """Returns what has been counted, of models that exist.

        Args:
            name: A model; empty for all.
            version: A version; empty for all.
        """
        samples = self._samples()
        return [
            _of(samples, each, known)
            for each in ([name] if name else sorted(self._known))
            for known in sorted(self._known.get(each, {}))
            if version in ("", known)
        ]

    def _samples(self) -> dict[tuple[str, ...], float]:
        found = {}
        for metric in vars(self._metrics).values():
            for family in metric.collect():
                for sample in family.samples:
                    found[sample.name, *sample.labels.values()] = sample.value
        return found


def _of(samples: dict[tuple[str, ...], float], name: str, version: str) -> ModelStatistics:
    def value(metric: str, *labels: str) -> float:
        return samples.get((f"adcaptum_oip_{metric}", name, version, *labels), 0.0)

    success, cached = int(value("requests_total", SUCCESS)), int(value("cached_requests_total"))
    computed = success - cached
    return ModelStatistics(
        name,
        version,
        Duration(success, value("request_seconds_total", SUCCESS)),
        Duration(int(value("requests_total", FAILURE)), value("request_seconds_total", FAILURE)),
        Duration(computed, value("queue_seconds_total")),
        Duration(computed, value("compute_seconds_total")),
        Duration(cached, value("cached_seconds_total")),
        int(value("examples_total")),
        int(value("batches_total")),
        value("last_request_timestamp_seconds"),
    )
