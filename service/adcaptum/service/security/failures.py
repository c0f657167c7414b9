"""Failures: calls without good credentials, counted, and told in the log once a second at most."""

from collections import Counter, OrderedDict
from time import monotonic
from typing import Final

from adcaptum.service import logs
from adcaptum.service.errors import Unauthenticated
from adcaptum.service.security.metrics import SecurityMetrics

LOG_SECONDS: Final = 1.0
"""The time between two lines of the log about failures."""

MOST_HOSTS: Final = 4096
"""The most addresses that are remembered."""

BURST: Final = 50.0
"""The failures of expensive checks that an address may have at once."""

REFILL: Final = 10.0
"""The failures of expensive checks that an address may have in each second."""


class Failures:
    """The failures of one process. For the event loop only."""

    def __init__(self, metrics: SecurityMetrics) -> None:
        self._metrics = metrics
        self._untold: Counter[str] = Counter()
        self._told = -LOG_SECONDS
        # By address: what it may still do, and when that was so; the least recent first.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def refused(self, reason: str, host: str) -> Unauthenticated:
        """Counts a failure, and returns the error for its caller, which does not say why.

        Args:
            reason: What was wrong, for metrics and log.
            host: Where the call comes from.
        """
        self._metrics.failures.labels(reason).inc()
        self._untold[reason] += 1
        now = monotonic()
        if now >= self._told + LOG_SECONDS:
            self._told = now
            logs.logger().warning("calls refused", last_from=host, reasons=dict(self._untold))
            self._untold.clear()
        return Unauthenticated(is_missing=reason == "missing")

    def may_check(self, host: str) -> bool:
        """Returns whether another expensive check is made for an address."""
        return self._remaining(host, monotonic()) >= 1.0

    def checked_in_vain(self, host: str) -> None:
        """Notes an expensive check that failed."""
        now = monotonic()
        left = self._remaining(host, now) - 1.0
        self._left[host] = (left, now)
        self._left.move_to_end(host)
        if len(self._left) > MOST_HOSTS:
            self._left.popitem(last=False)

    def _remaining(self, host: str, now: float) -> float:
        left, then = self._left.get(host, (BURST, now))
        return min(BURST, left + REFILL * (now - then))
