"""The standard health protocol: the whole server, and each model by its name."""

from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE: Final = "adcaptum.v1.ExplanationService"
HEALTH: Final[str] = health.SERVICE_NAME


class Health:
    """The health of the server and of each model, for `grpc.health.v1.Health`.

    Attributes:
        servicer: The servicer that `register` adds to a gRPC server.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()

    async def set_server(self, *, serving: bool) -> None:
        """Sets the health of the server as a whole."""
        for service in ("", SERVICE):
            await self.servicer.set(service, _status(serving))

    async def set_model(self, name: str, *, serving: bool) -> None:
        """Sets the health of a model."""
        await self.servicer.set(name, _status(serving))

    async def drain(self) -> None:
        """Sets the health of everything to NOT_SERVING, for good."""
        await self.servicer.enter_graceful_shutdown()


def _status(serving: bool) -> int:
    states = health_pb2.HealthCheckResponse
    return int(states.SERVING if serving else states.NOT_SERVING)


def register(own: Health, server: grpc.aio.Server) -> None:
    """Adds the health service to a server."""
    health_pb2_grpc.add_HealthServicer_to_server(own.servicer, server)
