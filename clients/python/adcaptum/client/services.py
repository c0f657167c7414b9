"""The calls of all services of a server."""

from typing import Any

from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from adcaptum.v1.repository_service_pb2_grpc import RepositoryServiceStub


class Services:
    """The calls, blocking or awaitable as their channel is."""

    def __init__(self, channel: Any) -> None:
        explanation = ExplanationServiceStub(channel)
        # The protocol's names.
        self.Predict: Any = explanation.Predict
        self.Explain: Any = explanation.Explain
        self.ExplainStream: Any = explanation.ExplainStream
        self.ListModels: Any = explanation.ListModels
        self.GetModel: Any = explanation.GetModel
        self.ListMethods: Any = explanation.ListMethods
        self.GetServer: Any = explanation.GetServer
        repository = RepositoryServiceStub(channel)
        self.ListWorkers: Any = repository.ListWorkers
        self.RestartWorkers: Any = repository.RestartWorkers
