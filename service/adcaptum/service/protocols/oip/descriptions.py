"""Models and methods as our own services describe them, for translators."""

from collections.abc import AsyncIterator
from typing import Final

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.rpc.local.calls import Envelope, LocalCalls
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)

SERVICE: Final = "/adcaptum.v1.ExplanationService/"


class Descriptions:
    """Asks for descriptions by calls of our own services."""

    def __init__(self, calls: LocalCalls) -> None:
        """Prepares it.

        Args:
            calls: Calls of the server's own services.
        """
        self._calls = calls
        # The methods of a server never change.
        self._methods: frozenset[str] | None = None

    async def methods(self, envelope: Envelope) -> frozenset[str]:
        """Returns the names of all methods."""
        if self._methods is None:
            found = [each.name async for each in self._listed(pb.ListMethodsRequest(), envelope)]
            self._methods = frozenset(found)
        return self._methods

    async def methods_of(
        self, model: model_pb2.ModelRef, envelope: Envelope
    ) -> list[method_pb2.Method]:
        """Returns all methods, each with whether a model can run it."""
        return [each async for each in self._listed(pb.ListMethodsRequest(model=model), envelope)]

    async def model(
        self, model: model_pb2.ModelRef, envelope: Envelope, *, layers: bool = False
    ) -> model_pb2.Model:
        """Returns the description of a model, or of one version of it."""
        view = pb.MODEL_VIEW_FULL if layers else pb.MODEL_VIEW_BASIC
        request = pb.GetModelRequest(model=model, view=view)
        answer = await self._calls.unary(
            f"{SERVICE}GetModel", request.SerializeToString(), envelope
        )
        return pb.GetModelResponse.FromString(answer.body).model

    async def models(self, envelope: Envelope) -> AsyncIterator[model_pb2.Model]:
        """Yields the descriptions of all models."""
        request = pb.ListModelsRequest(page_size=1000)
        while True:
            answer = await self._calls.unary(
                f"{SERVICE}ListModels", request.SerializeToString(), envelope
            )
            page = pb.ListModelsResponse.FromString(answer.body)
            for each in page.models:
                yield each
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def preset(
        self, model: model_pb2.ModelRef, name: str, envelope: Envelope
    ) -> explain_spec_pb2.ExplainSpec:
        """Returns a preset of a model; with an empty name the default one.

        Raises:
            InvalidRequest: There is none of that name.
        """
        version = version_of(await self.model(model, envelope))
        presets = {each.name: each.spec for each in version.presets}
        wanted = name or version.default_preset
        if wanted not in presets:
            raise InvalidRequest.unknown("preset", wanted, presets, Reason.PRESET_UNKNOWN)
        return presets[wanted]

    async def explained_by(self, model: model_pb2.ModelRef, envelope: Envelope) -> list[str]:
        """Returns the names of all methods and of a model's presets."""
        version = version_of(await self.model(model, envelope))
        presets = [each.name for each in version.presets]
        return [*sorted(await self.methods(envelope)), *presets]

    async def server(self, envelope: Envelope) -> pb.GetServerResponse:
        """Returns the description of the server."""
        answer = await self._calls.unary(f"{SERVICE}GetServer", b"", envelope)
        return pb.GetServerResponse.FromString(answer.body)

    async def _listed(
        self, request: pb.ListMethodsRequest, envelope: Envelope
    ) -> AsyncIterator[method_pb2.Method]:
        request.page_size = 1000
        while True:
            answer = await self._calls.unary(
                f"{SERVICE}ListMethods", request.SerializeToString(), envelope
            )
            page = pb.ListMethodsResponse.FromString(answer.body)
            for each in page.methods:
                yield each
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def version_of(model: model_pb2.Model) -> model_pb2.ModelVersion:
    """Returns the version that a description is of: the only one, or the default one."""
    wanted = [each for each in model.versions if each.identity.version == model.default_version]
    return model.versions[0] if len(model.versions) == 1 or not wanted else wanted[0]
