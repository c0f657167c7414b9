"""Options, addresses and errors of ports, for servers of gRPC and HTTP."""

import socket
from typing import Final

from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.rpc.other_services import MOST_OTHERS
from adcaptum.service.rpc.ports.certificates import Certificates
from adcaptum.service.rpc.ports.joined_server import JoinedServer
from adcaptum.service.settings import Settings

HANDSHAKE_SECONDS: Final = 10
"""The time in which a client has to say that it speaks HTTP/2."""

SILENCE_SECONDS: Final = 30
"""The time without a word of a client after which it is asked for one."""

PING_SECONDS: Final = 20
"""The time in which it has to answer; then its connection is closed."""


SERVERS: Final = 4
"""The servers of gRPC on the port of one process (docs/decisions/0150)."""


def most_streams(settings: Settings) -> int:
    """Returns the most calls of one connection: all that are served, and some to be refused."""
    return settings.max_requests + MOST_OTHERS


def most_calls(settings: Settings) -> int:
    """Returns the most calls of a server at a time: those that it refuses with a reason, too."""
    return 2 * most_streams(settings)


def options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the options of a gRPC server."""
    most, calls = settings.max_message_bytes, most_calls(settings)
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        ("grpc.max_concurrent_streams", most_streams(settings)),
        # Calls that the event loop has not taken yet; gRPC ends more than 1,000 without a reason.
        ("grpc.server.max_pending_requests", calls),
        ("grpc.server.max_pending_requests_hard_limit", 2 * calls),
        # Connections whose client has gone without a word, or never speaks.
        ("grpc.server_handshake_timeout_ms", 1000 * HANDSHAKE_SECONDS),
        ("grpc.keepalive_time_ms", 1000 * SILENCE_SECONDS),
        ("grpc.keepalive_timeout_ms", 1000 * PING_SECONDS),
    ]


def servers() -> int:
    """Returns the number of servers of gRPC on the port; one where ports cannot be shared."""
    return SERVERS if hasattr(socket, "SO_REUSEPORT") else 1


def check_free(settings: Settings) -> None:
    """Finds out whether servers of this process, and its fronts', may share the port.

    Raises:
        CannotStart: This system has no ports for several processes, or the port is taken.
    """
    if settings.fronts > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise CannotStart(
            f"fronts {settings.fronts}: processes cannot share a port on this system "
            "(it has no SO_REUSEPORT)"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        # Without the option, so that another server with it is seen.
        with socket.create_server((settings.host, settings.port), family=family):
            return
    except OSError as error:
        raise CannotStart(
            f"port {settings.port} of {settings.host}: {error.strerror or error}"
        ) from error


def host(settings: Settings) -> str:
    """Returns the host as it stands in addresses."""
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def open_port(server: JoinedServer, settings: Settings, certificates: Certificates | None) -> int:
    """Opens the gRPC port of a server; returns its number.

    Args:
        server: The server.
        settings: Its settings.
        certificates: Its certificate; None: the port is not encrypted.

    Raises:
        RuntimeError: It cannot be used.
    """
    address = f"{host(settings)}:{settings.port}"
    if certificates is None:
        return server.add_insecure_port(address)
    return server.add_encrypted_port(address, certificates)


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
