"""The metrics of a front; those of its workers stand beside them, with the label `worker`."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from adcaptum.service.metrics import PREFIX, SECONDS
from adcaptum.service.supervisor.death import KINDS

FRONT: Final = PREFIX + "front_"
WORKER_REQUESTS: Final = PREFIX + "worker_requests"


class FrontMetrics:
    """Every metric of one front, in a registry of its own.

    Attributes:
        registry: The registry.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(namespace="adcaptum_front", registry=registry)
        self.request_seconds = Histogram(
            FRONT + "request_duration_seconds",
            "From the arrival of a request at the front to its answer.",
            ("model", "rpc", "code"),
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            FRONT + "requests_in_flight", "Requests being served.", ("rpc",), registry=registry
        )
        self.rejected = Counter(
            FRONT + "rejected_requests_total",
            "Requests that the front refused.",
            ("rpc", "reason"),
            registry=registry,
        )
        self.retried = Counter(
            FRONT + "retried_requests_total",
            "Requests sent to another worker because theirs ended.",
            (),
            registry=registry,
        )
        self.quarantined = Counter(
            FRONT + "quarantined_requests_total",
            "Requests that ended two workers.",
            ("model",),
            registry=registry,
        )
        self.model_quarantined = Gauge(
            PREFIX + "model_quarantined",
            "1 while a model is out of service because it ended workers.",
            ("model",),
            registry=registry,
        )
        self.worker_up = Gauge(
            PREFIX + "worker_up", "1 while a worker serves.", ("worker",), registry=registry
        )
        self.worker_deaths = Counter(
            PREFIX + "worker_deaths_total",
            "Ends of worker processes that nobody asked for.",
            ("worker", "kind"),
            registry=registry,
        )
        self.worker_memory = Gauge(
            PREFIX + "worker_memory_bytes",
            "Resident memory of a worker.",
            ("worker",),
            registry=registry,
        )
        self.worker_requests = Gauge(
            WORKER_REQUESTS,
            "Requests that a worker has.",
            ("worker",),
            registry=registry,
        )
        self.worker_memory_limit = Gauge(
            PREFIX + "worker_memory_limit_bytes",
            "Resident memory beyond which a worker is replaced; 0: no limit.",
            registry=registry,
        )

    def expect(self, workers: Iterable[str], memory_limit: int | None) -> None:
        """Shows the counters of ends at 0, so that the first end is an increase.

        Args:
            workers: The ids of the workers.
            memory_limit: The most memory of a worker.
        """
        self.worker_memory_limit.set(memory_limit or 0)
        for worker in workers:
            for kind in KINDS:
                self.worker_deaths.labels(worker, kind)
