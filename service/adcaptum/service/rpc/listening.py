"""Options, addresses and errors of ports, for servers of gRPC and HTTP."""

import socket

from adcaptum.service.rpc.other_services import MOST_OTHERS
from adcaptum.service.settings import Settings


class CannotStart(Exception):
    """A port, the address or the device cannot be used."""


def most_streams(settings: Settings) -> int:
    """Returns the most calls of one connection: all that are served, and some to be refused."""
    return settings.max_requests + MOST_OTHERS


def options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of a gRPC server."""
    most = settings.max_message_bytes
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        ("grpc.max_concurrent_streams", most_streams(settings)),
        # Otherwise two servers could listen on one port and share its connections.
        ("grpc.so_reuseport", 0),
    ]


def host(settings: Settings) -> str:
    """Returns the host as it stands in addresses."""
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def http_listener(settings: Settings) -> socket.socket:
    """Returns the socket that HTTP listens on.

    Raises:
        OSError: The port cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.http_port), family=family)


def cannot_listen(error: Exception, settings: Settings) -> CannotStart:
    """Returns the error of a port that could not be opened, with the reason."""
    if isinstance(error, OSError):
        port = f"http_port {settings.http_port} of {settings.host}"
        return CannotStart(f"{port}: {error.strerror or error}")
    # gRPC's own text names an environment variable instead of the reason, which it prints.
    return CannotStart(
        f"port {settings.port} of {settings.host}: another process uses it, or the address is "
        "not one of this machine"
    )
