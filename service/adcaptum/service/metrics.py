"""The metrics of a server, by the names that dashboards and alert rules use."""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import MetricWrapperBase

PREFIX: Final = "adcaptum_"

SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
COUNTS: Final = tuple(float(2**power) for power in range(13))
RATIOS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Explanations of several hundred thousand rows are allowed, hence further than COUNTS.
EXPLANATION_ROWS: Final = tuple(float(2**power) for power in range(0, 21, 2))
ERRORS: Final = (1e-6, 1e-5, 1e-4, 1e-3, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Every metric of one server, in a registry of its own.

    Attributes:
        registry: The registry that `/metrics` shows.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        histogram, counter, gauge = self._histogram, self._counter, self._gauge

        by_rpc = ("model", "rpc")
        by_kind = ("model", "kind")
        self.request_seconds = histogram(
            "request_duration_seconds",
            "From the arrival of a request to its answer.",
            (*by_rpc, "code"),
        )
        self.queue_seconds = histogram(
            "queue_seconds", "From arrival to the first device batch with a row of it.", by_rpc
        )
        self.compute_seconds = histogram(
            "compute_seconds", "While device batches with rows of a request ran.", by_rpc
        )
        self.batch_rows = histogram("batch_rows", "Rows in a device batch.", by_kind, COUNTS)
        self.batch_seconds = histogram("batch_seconds", "Time of a device batch.", by_kind)
        self.batch_fill = histogram(
            "batch_fill_ratio", "Rows in a device batch over its capacity.", by_kind, RATIOS
        )
        self.batch_requests = histogram(
            "batch_requests", "Requests that shared a device batch.", by_kind, COUNTS
        )
        self.rows = counter("rows_total", "Rows evaluated.", by_kind)
        self.wasted_rows = counter(
            "wasted_rows_total", "Rows evaluated for nobody.", ("model", "reason")
        )
        self.explanations = counter(
            "explanations_total", "Explanations given.", ("model", "method", "stop_reason")
        )
        self.explanation_rows = histogram(
            "explanation_rows",
            "Rows that a method used in a request.",
            ("model", "method"),
            EXPLANATION_ROWS,
        )
        self.explanation_error = histogram(
            "explanation_error_ratio",
            "Error of an explanation over |output - baseline output|.",
            ("model", "method", "kind"),
            ERRORS,
        )
        self.in_flight = gauge("requests_in_flight", "Requests being served.", ("rpc",))
        self.queue_rows = gauge("queue_rows", "Rows that wait.", ("device",))
        self.loop_lag = histogram(
            "event_loop_lag_seconds", "Delay of timers that are due in the event loop.", ()
        )
        self.rejected = counter(
            "rejected_requests_total", "Requests refused unserved.", ("rpc", "reason")
        )
        self.cache_hits = counter(
            "cache_hits_total", "Explanations answered with one that was kept.", ("model",)
        )
        self.joined = counter(
            "joined_requests_total",
            "Explanations whose answer was computed for an equal request in flight.",
            ("model",),
        )
        self.cache_misses = counter(
            "cache_misses_total", "Explanations computed that might have been kept.", ("model",)
        )
        self.cache_evictions = counter(
            "cache_evictions_total", "Explanations that were kept and made room for others.", ()
        )
        self.cache_memory = gauge("cache_bytes", "Memory that kept explanations take.", ())
        self.cache_entries = gauge("cache_entries", "Explanations that are kept.", ())
        self.model_ready = gauge("model_ready", "1 while a model serves.", ("model", "version"))
        self.model_load_seconds = gauge(
            "model_load_seconds", "Time for loading and measuring a model.", ("model",)
        )
        self.model_load_failures = counter(
            "model_load_failures_total",
            "Versions that could not be loaded, or not anew. No version: the folder.",
            ("model", "version"),
        )
        self.batch_capacity = gauge(
            "batch_capacity_rows", "The most rows in one device batch.", by_kind
        )
        self.out_of_memory = counter(
            "out_of_memory_total", "Device batches that ran out of memory.", ("model",)
        )
        by_device = ("device",)
        self.device_memory = gauge("device_memory_bytes", "Device memory in use.", by_device)
        self.device_reserved = gauge(
            "device_memory_reserved_bytes",
            "Device memory that PyTorch holds, in use or for later.",
            by_device,
        )
        self.device_retries = gauge(
            "device_allocation_retries",
            "Times that device memory ran out and PyTorch gave back what it held for later.",
            by_device,
        )
        self.device_used = gauge(
            "device_used_bytes",
            "Device memory that all processes hold, as its driver says, where NVML is installed.",
            by_device,
        )
        self.device_utilization = gauge(
            "device_utilization_ratio",
            "Share of the last moment in which the device ran anything, as its driver says, where "
            "NVML is installed.",
            by_device,
        )
        self.device_busy_seconds = counter(
            "device_busy_seconds_total",
            "Time of the device that batches took: of a processor that of each thread, of an "
            "accelerator that in which at least one ran.",
            by_device,
        )
        self.device_launch_seconds = counter(
            "device_launch_seconds_total",
            "Time in which threads packed and launched batches of an accelerator.",
            by_device,
        )
        self.device_wait_seconds = counter(
            "device_wait_seconds_total",
            "Time in which threads waited for batches that they had launched.",
            by_device,
        )

    def _histogram(
        self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)


def metric_names(metrics: object | None = None) -> frozenset[str]:
    """Returns every `adcaptum_*` series name that a server can expose, as queries write it.

    A histogram `x` is `x_bucket`, `x_count` and `x_sum`; a counter is `x_total`, a gauge `x`. The
    `_created` series of the text format are left out: nothing should query them.

    Args:
        metrics: An object that has the metrics; None: those of a server.
    """
    return frozenset(
        name
        for metric in vars(metrics or Metrics()).values()
        if isinstance(metric, MetricWrapperBase)
        for name in _series(metric)
    )


def _series(metric: MetricWrapperBase) -> Iterator[str]:
    family = next(iter(metric.describe())).name
    if isinstance(metric, Histogram):
        yield from (f"{family}_bucket", f"{family}_count", f"{family}_sum")
    elif isinstance(metric, Counter):
        yield f"{family}_total"
    else:
        yield family
