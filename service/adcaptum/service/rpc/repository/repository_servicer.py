"""The servicer of RepositoryService in a process that is itself the only worker."""
# ruff: noqa: ARG002, N802 - names and arguments are gRPC's

import os

from adcaptum.service.errors import AdminRefused
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.catalogue.entry import State
from adcaptum.service.processes.facts import resident_bytes
from adcaptum.service.processes.place import Place
from adcaptum.service.rpc.messages import Context
from adcaptum.service.rpc.repository.lifecycle_calls import LifecycleCalls
from adcaptum.service.rpc.repository.worker_pages import listed
from adcaptum.v1 import (
    repository_service_pb2 as pb,
    repository_service_pb2_grpc as pb_grpc,
)


class RepositoryServicer(pb_grpc.RepositoryServiceServicer):
    """Describes this process, and changes what it has in memory."""

    def __init__(self, catalogue: Catalogue, place: Place, calls: LifecycleCalls) -> None:
        self._catalogue = catalogue
        self._place = place
        self._calls = calls

    async def ListWorkers(
        self, request: pb.ListWorkersRequest, context: Context
    ) -> pb.ListWorkersResponse:
        """Lists the one worker."""
        states = {entry.name: entry.best_state for entry in self._catalogue}
        loading = State.LOADING in states.values()
        worker = pb.Worker(
            id=self._place.worker,
            device=self._place.device,
            pid=os.getpid(),
            state=pb.WORKER_STATE_STARTING if loading else pb.WORKER_STATE_READY,
            memory_bytes=resident_bytes(os.getpid()),
            models=[name for name, state in states.items() if state is State.READY],
        )
        return listed((worker,), request)

    async def RestartWorkers(
        self, request: pb.RestartWorkersRequest, context: Context
    ) -> pb.RestartWorkersResponse:
        """Refuses to replace the only worker, which is the server."""
        raise AdminRefused("This server is one process: it has no workers to replace.")

    async def LoadModel(
        self, request: pb.LoadModelRequest, context: Context
    ) -> pb.LoadModelResponse:
        """Loads a model."""
        return await self._calls.load(request)

    async def UnloadModel(
        self, request: pb.UnloadModelRequest, context: Context
    ) -> pb.UnloadModelResponse:
        """Takes a model out of memory."""
        return await self._calls.unload(request)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        """Moves an alias."""
        return await self._calls.set_alias(request)

    async def DeleteAlias(
        self, request: pb.DeleteAliasRequest, context: Context
    ) -> pb.DeleteAliasResponse:
        """Removes an alias."""
        return await self._calls.delete_alias(request)
