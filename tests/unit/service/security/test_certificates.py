"""Certificates that are taken anew when their files change."""

import asyncio
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.security.access import Access
from adcaptum.service.security.certificates import BadCertificate, Certificates, read
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.settings import Settings
from tests.unit.service.security.certifying import Authority
from tests.unit.service.security.visiting import counted


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_a_new_certificate_is_taken(tmp_path: Path, authority: Authority) -> None:
    registry = CollectorRegistry()
    certificate, key = authority.write(tmp_path, days=5)
    found = Certificates(certificate, key, None, SecurityMetrics(registry))
    until = counted(registry, "certificate_expiry_timestamp_seconds")
    assert abs(until - time.time() - 5 * 86400) < 60
    assert found.credentials is not None
    fetch, other = found.fetcher(), found.fetcher()
    assert fetch() is None  # the one that it has
    authority.write(tmp_path, days=9)
    asyncio.run(found.look())
    assert fetch() is not None
    assert fetch() is None
    # Each port has its own.
    assert other() is not None
    until = counted(registry, "certificate_expiry_timestamp_seconds")
    assert abs(until - time.time() - 9 * 86400) < 60
    assert counted(registry, "loads_total", source="certificate", result="ok") == 2


@pytest.mark.parametrize("fault", ["other key", "no key", "expired", "future", "gone", "empty"])
def test_a_certificate_that_cannot_be_used_leaves_the_old_one(
    tmp_path: Path, authority: Authority, fault: str
) -> None:
    registry = CollectorRegistry()
    certificate, key = authority.write(tmp_path)
    found = Certificates(certificate, key, None, SecurityMetrics(registry))
    fetch = found.fetcher()
    until = counted(registry, "certificate_expiry_timestamp_seconds")
    match fault:
        case "other key":
            key.write_bytes(authority.pair()[1])
        case "no key":
            key.write_bytes(certificate.read_bytes())
        case "expired":
            authority.write(tmp_path, days=-1)
        case "future":
            authority.write(tmp_path, since=1)
        case "gone":
            key.unlink()
        case "empty":
            certificate.write_bytes(b"")
    for _ in range(2):
        asyncio.run(found.look())
    assert fetch() is None
    assert counted(registry, "source_stale", source="certificate") == 1
    # Told once, not at each look.
    assert counted(registry, "loads_total", source="certificate", result="error") == 1
    assert counted(registry, "certificate_expiry_timestamp_seconds") == until
    authority.write(tmp_path, days=9)
    asyncio.run(found.look())
    assert fetch() is not None
    assert counted(registry, "source_stale", source="certificate") == 0


def test_keys_are_not_shown(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.write(tmp_path)
    pair = read(certificate, key, None)
    assert "PRIVATE" not in repr(pair)
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(BadCertificate) as raised:
        read(certificate, key, None)
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls_certificate": "localhost.pem"}, "tls_key is not set: .* belong together"),
        ({"tls_client_ca": "ca.pem"}, "tls_certificate is not set: .* tls_client_ca needs both"),
        ({"tls_certificate": "localhost.pem", "tls_key": "none.key"}, "No such file"),
        ({"tls_certificate": "localhost.pem", "tls_key": "localhost.pem"}, "not PEM files"),
    ],
)
def test_a_start_without_a_usable_certificate_fails(
    tmp_path: Path, authority: Authority, given: dict[str, str], told: str
) -> None:
    authority.write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    paths = {name: tmp_path / path for name, path in given.items()}
    with pytest.raises(CannotStart, match=told):
        Access(Settings(repository=tmp_path, **paths), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "more", "starts"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.9.1", {}, True),
        ("::1", {}, True),
        ("localhost", {}, True),
        ("0.0.0.0", {}, False),
        ("::", {}, False),
        ("10.0.0.1", {}, False),
        ("example.test", {}, False),
        ("0.0.0.0", {"insecure": True}, True),
        ("0.0.0.0", {"api_keys": ""}, True),
        ("0.0.0.0", {"tls_certificate": "localhost.pem", "tls_key": "localhost.key"}, False),
        (
            "0.0.0.0",
            {
                "tls_certificate": "localhost.pem",
                "tls_key": "localhost.key",
                "tls_client_ca": "ca.pem",
            },
            True,
        ),
    ],
)
def test_a_server_that_others_reach_takes_a_choice(
    tmp_path: Path, authority: Authority, host: str, more: dict[str, object], starts: bool
) -> None:
    authority.write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    given = {name: tmp_path / each if name[:3] == "tls" else each for name, each in more.items()}  # type: ignore[operator]
    settings = Settings(repository=tmp_path, host=host, **given)  # type: ignore[arg-type]
    if starts:
        Access(settings, None)
        return
    with pytest.raises(CannotStart, match="--insecure"):
        Access(settings, None)
