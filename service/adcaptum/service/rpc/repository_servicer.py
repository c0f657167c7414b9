"""The servicer of RepositoryService in a process that is itself the only worker."""
# ruff: noqa: ARG002, N802 - names and arguments are gRPC's

import os

from adcaptum.service.errors import AdminRefused
from adcaptum.service.models.catalogue import Catalogue, State
from adcaptum.service.processes.facts import resident_bytes
from adcaptum.service.processes.place import Place
from adcaptum.service.rpc.messages import Context
from adcaptum.service.rpc.worker_pages import listed
from adcaptum.v1 import (
    repository_service_pb2 as pb,
    repository_service_pb2_grpc as pb_grpc,
)


class RepositoryServicer(pb_grpc.RepositoryServiceServicer):
    """Describes this process."""

    def __init__(self, catalogue: Catalogue, place: Place) -> None:
        self._catalogue = catalogue
        self._place = place

    async def ListWorkers(
        self, request: pb.ListWorkersRequest, context: Context
    ) -> pb.ListWorkersResponse:
        """Lists the one worker."""
        states = {entry.name: entry.state for entry in self._catalogue}
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
