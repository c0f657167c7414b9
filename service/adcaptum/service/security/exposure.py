"""Exposure: an address that other machines reach takes an explicit choice."""

import ipaddress

from adcaptum.service import logs
from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.settings import Settings


def check_exposure(settings: Settings) -> None:
    """Checks that a server which other machines reach has credentials, or is told to have none.

    Raises:
        CannotStart: Neither is so.
    """
    if settings.insecure or is_loopback(settings.host) or settings.tls_client_ca is not None:
        return
    if settings.has_credentials:
        if settings.tls_certificate is None:
            hint = "without tls_certificate, unless a proxy encrypts"
            logs.logger().warning("keys and tokens are sent for all to read", why=hint)
        return
    raise CannotStart(
        f"host {settings.host}: other machines reach it, and whoever does may do everything: set "
        "credentials (`adcaptum keys new` makes a key) or tls_client_ca, or --insecure if a proxy "
        "or a closed network is in front"
    )


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
