"""The handlers of the calls that change what a server has in memory."""

from collections.abc import Callable
from typing import Any, Protocol

import grpc

from adcaptum.service.rpc.messages import Context
from adcaptum.v1 import repository_service_pb2 as pb


class Changes(Protocol):
    """The calls of RepositoryService that change what is in memory, by their requests."""

    async def load(self, request: pb.LoadModelRequest) -> pb.LoadModelResponse: ...

    async def unload(self, request: pb.UnloadModelRequest) -> pb.UnloadModelResponse: ...

    async def set_alias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse: ...

    async def delete_alias(self, request: pb.DeleteAliasRequest) -> pb.DeleteAliasResponse: ...


def change_handlers(changes: Changes) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Returns the handlers of these calls by the names of their methods."""
    return {rpc: _handler(rpc, call) for rpc, call in calls(changes).items()}


def calls(changes: Changes) -> dict[str, Callable[[Any], Any]]:
    """Returns the calls by the names of their methods."""
    return {
        "LoadModel": changes.load,
        "UnloadModel": changes.unload,
        "SetAlias": changes.set_alias,
        "DeleteAlias": changes.delete_alias,
    }


def _handler(rpc: str, call: Callable[[Any], Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    async def answer(request: Any, _: Context) -> Any:
        return await call(request)

    read, write = getattr(pb, f"{rpc}Request"), getattr(pb, f"{rpc}Response")
    return grpc.unary_unary_rpc_method_handler(answer, read.FromString, write.SerializeToString)
