"""The gRPC servicer: hands calls to the predictor, the explainer and the descriptions."""
# ruff: noqa: ARG002, N802 - names and arguments are gRPC's

from collections.abc import AsyncGenerator
from typing import Any

import grpc

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers.explainer import Explainer
from adcaptum.service.handlers.predictor import Predictor
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.catalogue.entry import Entry
from adcaptum.service.processes.place import Place
from adcaptum.service.rpc import descriptions, pages
from adcaptum.service.rpc.interceptors import CALL
from adcaptum.service.rpc.other_services import Handler
from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    method_pb2,
    model_pb2,
)

Context = grpc.aio.ServicerContext[Any, Any]


class ExplanationServicer(pb_grpc.ExplanationServiceServicer):
    """Answers the calls of ExplanationService."""

    def __init__(
        self, catalogue: Catalogue, predictor: Predictor, explainer: Explainer, place: Place
    ) -> None:
        self._catalogue = catalogue
        self._predictor = predictor
        self._explainer = explainer
        self._place = place

    def framed(self) -> dict[str, Handler]:
        """Returns the handlers of the methods whose requests may come in frames."""
        return {
            "Predict": grpc.unary_unary_rpc_method_handler(
                self.Predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
            ),
            "Explain": grpc.unary_unary_rpc_method_handler(
                self.Explain, pb.ExplainRequest.FromString, pb.ExplainResponse.SerializeToString
            ),
        }

    async def Predict(self, request: pb.PredictRequest, context: Context) -> Any:
        """Evaluates a model."""
        return await self._predictor.predict(request, CALL.get())

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> Any:
        """Explains, and answers at the end."""
        return await self._explainer.explain(request, CALL.get())

    def ExplainStream(
        self, request: pb.ExplainStreamRequest, context: Context
    ) -> AsyncGenerator[Any, None]:
        """Explains, and reports progress on the way."""
        return self._explainer.explain_stream(request, CALL.get())

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """Lists the models."""
        full = _is_full(request.view, usually=False)
        entries, token = pages.page(
            tuple(self._catalogue), _entry_name, request.page_size, request.page_token, "models"
        )
        return pb.ListModelsResponse(
            models=[descriptions.model(entry, None, self._place, layers=full) for entry in entries],
            next_page_token=token,
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Describes a model."""
        full = _is_full(request.view, usually=True)
        return pb.GetModelResponse(model=await self.describe(request.model, full=full))

    async def describe(self, reference: model_pb2.ModelRef, *, full: bool) -> model_pb2.Model:
        """Describes a model.

        Args:
            reference: The model; with a version or an alias, that version only.
            full: Whether to list its layers.
        """
        entry = self._catalogue.entry(reference.name)
        return descriptions.model(entry, reference, self._place, layers=full)

    async def ListMethods(
        self, request: pb.ListMethodsRequest, context: Context
    ) -> pb.ListMethodsResponse:
        """Lists the methods."""
        served = self._catalogue.find(request.model) if request.HasField("model") else None
        methods, token = pages.page(
            descriptions.methods(served),
            _method_name,
            request.page_size,
            request.page_token,
            "methods",
        )
        return pb.ListMethodsResponse(methods=methods, next_page_token=token)

    async def GetServer(
        self, request: pb.GetServerRequest, context: Context
    ) -> pb.GetServerResponse:
        """Describes the server."""
        return descriptions.server()


def _is_full(view: pb.ModelView.ValueType, *, usually: bool) -> bool:
    """Returns whether a description has layers.

    Raises:
        InvalidRequest: The view is none of those that this server knows.
    """
    if view == pb.MODEL_VIEW_UNSPECIFIED:
        return usually
    if view not in (pb.MODEL_VIEW_BASIC, pb.MODEL_VIEW_FULL):
        raise InvalidRequest("view", f"{view}; must be MODEL_VIEW_BASIC or MODEL_VIEW_FULL")
    return view == pb.MODEL_VIEW_FULL


def _entry_name(entry: Entry) -> str:
    return entry.name


def _method_name(method: method_pb2.Method) -> str:
    return method.name
