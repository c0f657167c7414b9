"""The joined server: several servers of gRPC on one port, with the same methods, as one.

A server of `grpc.aio` takes one call after another: it asks gRPC for the next one when its event
loop has seen the last. Connections that come to a port are divided among all servers that listen
there, and each of these asks for a call of its own (docs/decisions/0150).
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import grpc

from adcaptum.service.rpc.ports.certificates import Certificates

SHARED: Final = "grpc.so_reuseport"
"""The option by which servers share a port."""


class JoinedServer(grpc.aio.Server):
    """Several servers with the same methods, on the same ports."""

    def __init__(
        self,
        count: int,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, int]],
        most_calls: int,
    ) -> None:
        """Makes the servers.

        Args:
            count: Their number; more than one only where ports can be shared.
            interceptors: What surrounds the methods.
            options: The options of each, but whether ports are shared.
            most_calls: The most calls of each at a time.
        """
        shared = (SHARED, int(count > 1))
        self._servers: list[grpc.aio.Server] = [
            grpc.aio.server(
                interceptors=interceptors,
                options=[*options, shared],
                maximum_concurrent_rpcs=most_calls,
            )
            for _ in range(count)
        ]

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        """Adds methods."""
        handlers = [*generic_rpc_handlers]
        for each in self._servers:
            each.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Does nothing: generated code has added the same methods as generic ones.

        Whenever a call has come, a server of `grpc.aio` waits anew for one of each registered
        method, in time proportional to their number.
        """

    def add_insecure_port(self, address: str) -> int:
        """Listens on an address; returns its port."""
        first, *others = self._servers
        port = first.add_insecure_port(address)
        for each in others:
            each.add_insecure_port(_with_port(address, port))
        return port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Refuses: credentials of certificates that change are of one server only."""
        raise NotImplementedError("add_encrypted_port makes credentials for each server")

    def add_encrypted_port(self, address: str, certificates: Certificates) -> int:
        """Listens on an address with TLS; returns its port."""
        first, *others = self._servers
        port = first.add_secure_port(address, certificates.credentials)
        for each in others:
            each.add_secure_port(_with_port(address, port), certificates.credentials)
        return port

    async def start(self) -> None:
        """Lets calls in."""
        for each in self._servers:
            await each.start()

    async def stop(self, grace: float | None) -> None:
        """Closes the ports, and ends the calls that are left after some seconds."""
        await asyncio.gather(*[each.stop(grace) for each in self._servers])

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """Waits until all have stopped; returns whether the time came first."""
        ended = [each.wait_for_termination(timeout) for each in self._servers]
        return any(await asyncio.gather(*ended))


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
