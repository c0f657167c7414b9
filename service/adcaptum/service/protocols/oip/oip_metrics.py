"""Metrics of requests of the protocol: what ModelStatistics tells, by model and virtual model."""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from adcaptum.service.metrics import PREFIX

OIP: Final = PREFIX + "oip_"
BY_MODEL: Final = ("model", "version")

SUCCESS: Final = "success"
FAILURE: Final = "fail"


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """The metrics of one model and version; to look each of them up takes as long as to count."""

    requests: Counter
    seconds: Counter
    failures: Counter
    failed_seconds: Counter
    queue_seconds: Counter
    compute_seconds: Counter
    examples: Counter
    batches: Counter
    cached: Counter
    cached_seconds: Counter
    last: Gauge


class OipMetrics:
    """The metrics, in the registry of a server or a front."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Makes them.

        Args:
            registry: The registry.
        """

        def counter(name: str, text: str, labels: tuple[str, ...] = BY_MODEL) -> Counter:
            return Counter(OIP + name, text, labels, registry=registry)

        by_outcome = (*BY_MODEL, "outcome")
        self.requests = counter(
            "requests_total",
            "Requests of the Open Inference Protocol, by model or virtual model.",
            by_outcome,
        )
        self.seconds = counter("request_seconds_total", "Their time.", by_outcome)
        self.queue_seconds = counter(
            "queue_seconds_total", "Their time before their first device batch."
        )
        self.compute_seconds = counter(
            "compute_seconds_total", "Their time while device batches with rows of them ran."
        )
        self.examples = counter("examples_total", "Their examples.")
        self.batches = counter("batches_total", "Device batches with rows of them.")
        self.cached = counter("cached_requests_total", "Those answered with what was kept.")
        self.cached_seconds = counter("cached_seconds_total", "The time of these.")
        self.last = Gauge(
            OIP + "last_request_timestamp_seconds",
            "When the last one was answered, since 1970.",
            BY_MODEL,
            registry=registry,
        )

    def of(self, name: str, version: str) -> ModelMetrics:
        """Returns the metrics of a model and version that exist."""
        at = (name, version)
        return ModelMetrics(
            self.requests.labels(*at, SUCCESS),
            self.seconds.labels(*at, SUCCESS),
            self.requests.labels(*at, FAILURE),
            self.seconds.labels(*at, FAILURE),
            self.queue_seconds.labels(*at),
            self.compute_seconds.labels(*at),
            self.examples.labels(*at),
            self.batches.labels(*at),
            self.cached.labels(*at),
            self.cached_seconds.labels(*at),
            self.last.labels(*at),
        )
