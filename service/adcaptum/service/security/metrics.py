"""The metrics of security, in the registry of whoever lets calls in."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from adcaptum.service.metrics import PREFIX

SECURITY: Final = PREFIX + "security_"
"""The beginning of their names."""


class SecurityMetrics:
    """Every metric of security."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            SECURITY + "failures_total",
            "Calls refused because of their credentials.",
            ("reason",),
            registry=registry,
        )
        self.denied = Counter(
            SECURITY + "denied_total",
            "Calls refused because their callers lack the role.",
            ("role",),
            registry=registry,
        )
        self.over_quota = Counter(
            SECURITY + "over_quota_total", "Calls refused by a quota.", (), registry=registry
        )
        self.loads = Counter(
            SECURITY + "loads_total",
            "Readings of changed credentials, key sets and certificates.",
            ("source", "result"),
            registry=registry,
        )
        self.stale = Gauge(
            SECURITY + "source_stale",
            "1 while the newest content of a source cannot be used and the one before it is.",
            ("source",),
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            SECURITY + "certificate_expiry_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970; 0: there is none.",
            (),
            registry=registry,
        )
