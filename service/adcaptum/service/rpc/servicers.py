"""The gRPC servicer: hands calls to the predictor, the explainer and the descriptions."""
# ruff: noqa: ARG002, N802 - names and arguments are gRPC's

from collections.abc import AsyncIterator
from typing import Any

import grpc

from adcaptum.service.handlers.explainer import Explainer
from adcaptum.service.handlers.predictor import Predictor
from adcaptum.service.models.catalogue import Catalogue
from adcaptum.service.rpc import descriptions
from adcaptum.service.rpc.interceptors import CALL
from adcaptum.v1 import explanation_service_pb2 as pb, explanation_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ExplanationServicer(pb_grpc.ExplanationServiceServicer):
    """Answers the calls of ExplanationService."""

    def __init__(
        self, catalogue: Catalogue, predictor: Predictor, explainer: Explainer, device: str
    ) -> None:
        self._catalogue = catalogue
        self._predictor = predictor
        self._explainer = explainer
        self._device = device

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Evaluates a model."""
        return await self._predictor.predict(request, CALL.get())

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """Explains, and answers at the end."""
        return await self._explainer.explain(request, CALL.get())

    async def ExplainStream(
        self, request: pb.ExplainStreamRequest, context: Context
    ) -> AsyncIterator[pb.ExplainStreamResponse]:
        """Explains, and reports progress on the way."""
        async for event in self._explainer.explain_stream(request, CALL.get()):
            yield event

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """Lists the models."""
        return pb.ListModelsResponse(
            models=[
                descriptions.model(entry, None, self._device, layers=False)
                for entry in self._catalogue
            ]
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Describes a model."""
        entry = self._catalogue.entry(request.model.name)
        return pb.GetModelResponse(
            model=descriptions.model(entry, request.model, self._device, layers=True)
        )

    async def ListMethods(
        self, request: pb.ListMethodsRequest, context: Context
    ) -> pb.ListMethodsResponse:
        """Lists the methods."""
        served = self._catalogue.find(request.model) if request.HasField("model") else None
        return pb.ListMethodsResponse(methods=descriptions.methods(served))
