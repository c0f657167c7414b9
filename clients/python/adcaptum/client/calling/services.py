"""The calls of all services of a server."""

from typing import Any

from adcaptum.v1 import explanation_service_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from adcaptum.v1.repository_service_pb2_grpc import RepositoryServiceStub


class Services:
    """The calls, blocking or awaitable as their channel is.

    `Predict` and `Explain` also take requests that are serialised already.
    """

    def __init__(self, channel: Any) -> None:
        explanation = ExplanationServiceStub(channel)
        # The protocol's names.
        self.Predict: Any = _unary(channel, "Predict", explanation_service_pb2.PredictResponse)
        self.Explain: Any = _unary(channel, "Explain", explanation_service_pb2.ExplainResponse)
        self.ExplainStream: Any = explanation.ExplainStream
        self.ListModels: Any = explanation.ListModels
        self.GetModel: Any = explanation.GetModel
        self.ListMethods: Any = explanation.ListMethods
        self.GetServer: Any = explanation.GetServer
        repository = RepositoryServiceStub(channel)
        self.ListWorkers: Any = repository.ListWorkers
        self.RestartWorkers: Any = repository.RestartWorkers
        self.LoadModel: Any = repository.LoadModel
        self.UnloadModel: Any = repository.UnloadModel
        self.SetAlias: Any = repository.SetAlias
        self.DeleteAlias: Any = repository.DeleteAlias


def _unary(channel: Any, name: str, response: Any) -> Any:
    return channel.unary_unary(
        f"/adcaptum.v1.ExplanationService/{name}",
        request_serializer=_serialised,
        response_deserializer=response.FromString,
        # As in the generated stubs: gRPC then looks the call up in its table.
        _registered_method=True,
    )


def _serialised(request: Any) -> Any:
    return request if type(request) is bytes else request.SerializeToString()
