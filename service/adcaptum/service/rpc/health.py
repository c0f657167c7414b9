"""The standard health protocol: the whole server, and each model by its name."""

from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from adcaptum.service.rpc.messages import Context

SERVICE: Final = "adcaptum.v1.ExplanationService"
REPOSITORY: Final = "adcaptum.v1.RepositoryService"
HEALTH: Final[str] = health.SERVICE_NAME


class Health:
    """The health of the server and of each model, for `grpc.health.v1.Health`.

    Attributes:
        servicer: The servicer that `register` adds to a gRPC server.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        # grpc_health raises NotImplementedError for it, which would be answered with INTERNAL.
        self.servicer.List = self._list
        self._serving: dict[str, bool] = {}

    async def set_server(self, *, serving: bool) -> None:
        """Sets the health of the server as a whole."""
        for service in ("", SERVICE):
            await self._set(service, serving=serving)

    async def set_model(self, name: str, *, serving: bool) -> None:
        """Sets the health of a model."""
        await self._set(name, serving=serving)

    async def remove_model(self, name: str) -> None:
        """Forgets a model."""
        self._serving.pop(name, None)
        await self.servicer.set(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)

    async def drain(self) -> None:
        """Sets the health of everything to NOT_SERVING, for good."""
        self._serving = dict.fromkeys(self._serving, False)
        await self.servicer.enter_graceful_shutdown()

    async def _set(self, name: str, *, serving: bool) -> None:
        self._serving[name] = serving
        await self.servicer.set(name, _status(serving))

    async def _list(
        self, _: health_pb2.HealthListRequest, __: Context
    ) -> health_pb2.HealthListResponse:
        """Returns the health of the server and of each model."""
        statuses = {
            name: health_pb2.HealthCheckResponse(status=_status(serving))
            for name, serving in self._serving.items()
        }
        return health_pb2.HealthListResponse(statuses=statuses)


def _status(serving: bool) -> int:
    states = health_pb2.HealthCheckResponse
    return int(states.SERVING if serving else states.NOT_SERVING)


def register(own: Health, server: grpc.aio.Server, *, reflects: bool = True) -> None:
    """Adds the health service to a server, and the reflection of all if `reflects`."""
    health_pb2_grpc.add_HealthServicer_to_server(own.servicer, server)
    if reflects:
        services = (SERVICE, REPOSITORY, HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, server)
