"""Addresses of servers as targets of gRPC."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias

Address: TypeAlias = str | Sequence[str]

_FAMILIES: Final = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}


def listed(address: Address) -> list[str]:
    """Return the addresses one by one; a text may have several, with commas between them.

    Raises:
        ValueError: There is none.
    """
    several = address.split(",") if isinstance(address, str) else list(address)
    found = [each.strip() for each in several if each.strip()]
    if not found:
        raise ValueError(f"address is {address!r}, must be HOST:PORT, or several of them")
    return found


def target(addresses: Sequence[str]) -> str:
    """Return the target of one or several servers; names of several are looked up once, now.

    Raises:
        ValueError: One of several has no port, or is of another family than the others.
        OSError: A name of several is not known.
    """
    if len(addresses) == 1:
        return addresses[0]
    found: dict[str, list[str]] = {}
    for each in addresses:
        host, colon, port = each.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"address {each!r} is not HOST:PORT")
        family, name = _resolved(host.strip("[]"))
        shown = f"[{name}]:{port}" if family == "ipv6" else f"{name}:{port}"
        found.setdefault(family, []).append(shown)
    if len(found) > 1:
        raise ValueError("addresses of several servers must be all of IPv4 or all of IPv6")
    ((family, shown_all),) = found.items()
    return f"{family}:{','.join(shown_all)}"


def are_balanced(addresses: Sequence[str]) -> bool:
    """True if there may be several servers: several addresses, or a name that is looked up."""
    return len(addresses) > 1 or addresses[0].startswith("dns:")


def _resolved(host: str) -> tuple[str, str]:
    """Return the family of an address, and the address of a name."""
    try:
        return f"ipv{ipaddress.ip_address(host).version}", host
    except ValueError:
        every = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # IPv4 first: servers listen there by default.
    every.sort(key=lambda info: info[0] != socket.AF_INET)
    return _FAMILIES[every[0][0]], str(every[0][4][0])
