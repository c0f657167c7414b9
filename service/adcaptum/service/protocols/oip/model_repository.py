"""Loading and unloading of models by calls of our own service."""

from collections.abc import Collection
from typing import Final

import grpc

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.protocols.oip.values.model_names import parsed
from adcaptum.service.rpc.local.calls import CallFailed, Envelope, LocalCalls
from adcaptum.v1 import model_pb2, repository_service_pb2 as repository_pb2

SERVICE: Final = "/adcaptum.v1.RepositoryService/"

DEPENDENTS: Final = "unload_dependents"
"""A parameter that clients always send; models here have no dependents."""


class ModelRepository:
    """Loads and unloads models."""

    def __init__(self, calls: LocalCalls) -> None:
        """Prepares it.

        Args:
            calls: Calls of the server's own services.
        """
        self._calls = calls

    async def load(self, name: str, parameters: Collection[str], envelope: Envelope) -> None:
        """Loads all versions of a model, anew if they serve already, and waits until they serve.

        Args:
            name: The model.
            parameters: The names of the request's parameters.
            envelope: What came with the request.

        Raises:
            InvalidRequest: It is a virtual model, or there are parameters.
            CallFailed: It cannot be loaded, or the caller must not.
        """
        request = repository_pb2.LoadModelRequest(model=_whole(name, parameters, ()), wait=True)
        await self._call("LoadModel", request.SerializeToString(), envelope)

    async def unload(self, name: str, parameters: Collection[str], envelope: Envelope) -> None:
        """Unloads all versions of a model.

        Args:
            name: The model.
            parameters: The names of the request's parameters.
            envelope: What came with the request.

        Raises:
            InvalidRequest: It is a virtual model, or there are unknown parameters.
            CallFailed: It cannot be unloaded, or the caller must not.
        """
        model = _whole(name, parameters, (DEPENDENTS,))
        request = repository_pb2.UnloadModelRequest(model=model)
        await self._call("UnloadModel", request.SerializeToString(), envelope)

    async def _call(self, rpc: str, raw: bytes, envelope: Envelope) -> None:
        try:
            await self._calls.unary(SERVICE + rpc, raw, envelope)
        except CallFailed as failed:
            if failed.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            text = "This server loads and unloads no models while it runs."
            raise CallFailed(failed.code, text, failed.details, failed.trailing) from failed


def _whole(name: str, parameters: Collection[str], known: Collection[str]) -> model_pb2.ModelRef:
    """Returns the reference to all versions of a model.

    Raises:
        InvalidRequest: It is a virtual model, or a parameter is unknown.
    """
    if parsed(name).explained_by:
        raise InvalidRequest(
            "model_name", f"{shortened(name)}: comes and goes with {parsed(name).model!r}"
        )
    for each in parameters:
        if each not in known:
            raise InvalidRequest(
                f"parameters.{shortened(each)[1:-1]}",
                f"there is no such parameter. {did_you_mean(each, known)}",
                reason=Reason.FIELD_UNKNOWN,
            )
    return model_pb2.ModelRef(name=name)
