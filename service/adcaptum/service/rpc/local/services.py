"""The services of a process that runs models: added to its gRPC server and to its local calls."""

from typing import cast

import grpc

from adcaptum.service.rpc import health
from adcaptum.service.rpc.health import Health
from adcaptum.service.rpc.local.calls import LocalCalls
from adcaptum.service.rpc.repository.repository_servicer import RepositoryServicer
from adcaptum.service.rpc.servicers import ExplanationServicer
from adcaptum.v1 import (
    explanation_service_pb2_grpc as pb_grpc,
    repository_service_pb2_grpc as repository_grpc,
)


def add(
    server: grpc.aio.Server,
    calls: LocalCalls,
    explanation: ExplanationServicer,
    repository: RepositoryServicer,
    own: Health,
    *,
    reflects: bool,
) -> None:
    """Adds the services of this server.

    Args:
        server: The gRPC server, which has health and reflection, too.
        calls: The calls from inside the process.
        explanation: Predictions, explanations and descriptions.
        repository: Models and workers.
        own: The health of this server.
        reflects: Whether the gRPC server describes its services.
    """
    # Generated code adds to whatever has the methods of a gRPC server.
    for each in (server, cast("grpc.aio.Server", calls)):
        pb_grpc.add_ExplanationServiceServicer_to_server(explanation, each)
        repository_grpc.add_RepositoryServiceServicer_to_server(repository, each)
    health.register(own, server, reflects=reflects)
