"""The metrics of calls that their frame counts, of a server or of a front."""

from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram


class CallMetrics(Protocol):
    """The metrics of calls.

    Attributes:
        request_seconds: The time of calls, by model, rpc and code.
        in_flight: The calls that are being served, by rpc.
        rejected: The calls that were refused, by rpc and reason.
    """

    @property
    def request_seconds(self) -> Histogram: ...

    @property
    def in_flight(self) -> Gauge: ...

    @property
    def rejected(self) -> Counter: ...
