"""Routes of the JSON interface, each of which is a method of our services."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from adcaptum.v1 import explanation_service_pb2, repository_service_pb2

PREFIX: Final = "/api/v1"
SERVICES: Final = {
    name: service
    for file in (explanation_service_pb2, repository_service_pb2)
    for name, service in file.DESCRIPTOR.services_by_name.items()
}


@dataclass(frozen=True, slots=True)
class RpcRoute:
    """A route.

    Attributes:
        verb: The method of HTTP.
        path: The path below `PREFIX`, with its parameters in braces.
        rpc: The method, as `ExplanationService.Predict`.
        bound: The field of the request of each parameter, as `model.name`.
        asked: The fields of the request that stand in the query, by their names there.
        wrapped: The field of the request that has what the body has; empty: all of it.
    """

    verb: str
    path: str
    rpc: str
    bound: Mapping[str, str]
    asked: Mapping[str, str]
    wrapped: str = ""

    @property
    def method(self) -> MethodDescriptor:
        """The method."""
        service, _, name = self.rpc.partition(".")
        found: Any = SERVICES[service].methods_by_name[name]
        return found

    @property
    def grpc_path(self) -> str:
        """The method, as gRPC names it."""
        service: Any = self.method.containing_service
        return f"/{service.full_name}/{self.method.name}"

    @property
    def streamed(self) -> bool:
        """True if it answers with a stream."""
        return bool(self.method.server_streaming)

    def request(self) -> Message:
        """Returns an empty request."""
        return message_factory.GetMessageClass(self.method.input_type)()

    def reply(self) -> Message:
        """Returns an empty reply."""
        return message_factory.GetMessageClass(self.method.output_type)()


MODEL: Final = {"model": "model.name"}
PAGE: Final = {"page_size": "page_size", "page_token": "page_token"}
ALIASES: Final = "/models/{model}/aliases/{alias}"
SELECTED: Final = {
    "/models/{model}": MODEL,
    "/models/{model}/versions/{version}": MODEL | {"version": "model.version"},
    ALIASES: MODEL | {"alias": "model.alias"},
}
"""The paths of a model, of a version and of an alias, and the fields of `ModelRef` in them."""


ALIAS: Final = MODEL | {"alias": "alias"}
MOVED: Final = {"expected_version": "expected_version"}


def _asks(verb: str, rpc: str, wrapped: str = "") -> list[RpcRoute]:
    """Returns the routes of a method that asks a model."""
    return [
        RpcRoute("POST", f"{path}:{verb}", rpc, bound, {}, wrapped)
        for path, bound in SELECTED.items()
    ]


def _shows(path: str, rpc: str, bound: Mapping[str, str], asked: Mapping[str, str]) -> RpcRoute:
    return RpcRoute("GET", path, rpc, bound, asked)


ROUTES: Final = (
    *_asks("predict", "ExplanationService.Predict"),
    *_asks("explain", "ExplanationService.Explain"),
    *_asks("explainStream", "ExplanationService.ExplainStream", "explain"),
    *_asks("load", "RepositoryService.LoadModel"),
    *_asks("unload", "RepositoryService.UnloadModel"),
    _shows("/server", "ExplanationService.GetServer", {}, {}),
    _shows("/models", "ExplanationService.ListModels", {}, PAGE | {"view": "view"}),
    *(
        _shows(path, "ExplanationService.GetModel", bound, {"view": "view"})
        for path, bound in SELECTED.items()
    ),
    RpcRoute(
        "PUT", ALIASES, "RepositoryService.SetAlias", ALIAS, MOVED | {"version": "model.version"}
    ),
    RpcRoute("DELETE", ALIASES, "RepositoryService.DeleteAlias", ALIAS, MOVED),
    _shows("/methods", "ExplanationService.ListMethods", {}, PAGE | MODEL),
    _shows("/workers", "RepositoryService.ListWorkers", {}, PAGE),
    RpcRoute("POST", "/workers:restart", "RepositoryService.RestartWorkers", {}, {}),
)
"""All routes. One that ends in a verb stands before one that would take the verb for a name."""
