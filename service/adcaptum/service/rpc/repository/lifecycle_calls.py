"""The calls that change what a server has in memory, for one process and for a front alike."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from adcaptum.service.errors import AdminRefused, InvalidRequest
from adcaptum.service.lifecycle.idempotency import IdempotencyKeys
from adcaptum.service.lifecycle.model_lifecycle import ModelLifecycle
from adcaptum.service.nearest import shortened
from adcaptum.v1 import model_pb2, repository_service_pb2 as pb


class Describe(Protocol):
    """Describes a model; with a version or an alias, that version only."""

    def __call__(
        self, reference: model_pb2.ModelRef, *, full: bool
    ) -> Awaitable[model_pb2.Model]: ...


class LifecycleCalls:
    """The calls of RepositoryService that change something: messages to a life cycle and back."""

    def __init__(self, lifecycle: ModelLifecycle, describe: Describe, *, allowed: bool) -> None:
        """Prepares them.

        Args:
            lifecycle: Does what is asked.
            describe: Describes models.
            allowed: Whether callers may.
        """
        self._lifecycle = lifecycle
        self._describe = describe
        self._allowed = allowed
        self._keys: IdempotencyKeys[Any] = IdempotencyKeys()

    async def load(self, request: pb.LoadModelRequest) -> pb.LoadModelResponse:
        """Loads a model."""

        async def call() -> pb.LoadModelResponse:
            name, version = await self._named(request.model)
            await self._lifecycle.load(name, version, wait=request.wait)
            return pb.LoadModelResponse(version=await self._version(request.model))

        return await self._once(request, call)

    async def unload(self, request: pb.UnloadModelRequest) -> pb.UnloadModelResponse:
        """Takes a model out of memory."""

        async def call() -> pb.UnloadModelResponse:
            name, version = await self._named(request.model)
            await self._lifecycle.unload(name, version)
            return pb.UnloadModelResponse(version=await self._version(request.model))

        return await self._once(request, call)

    async def set_alias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        """Moves an alias."""
        self._check_allowed()
        name, version = await self._named(request.model)
        if not version:
            version = (await self._describe(request.model, full=False)).default_version
        expected = request.expected_version if request.HasField("expected_version") else None
        await self._lifecycle.set_alias(name, request.alias, version, expected)
        return pb.SetAliasResponse(model=await self._model(name))

    async def delete_alias(self, request: pb.DeleteAliasRequest) -> pb.DeleteAliasResponse:
        """Removes an alias."""
        self._check_allowed()
        selector = request.model.WhichOneof("selector")
        if selector is not None:
            value = shortened(getattr(request.model, selector))
            raise InvalidRequest(
                f"model.{selector}", f"{value}; an alias is a model's: must be unset"
            )
        name, _ = await self._named(request.model)
        expected = request.expected_version if request.HasField("expected_version") else None
        await self._lifecycle.delete_alias(name, request.alias, expected)
        return pb.DeleteAliasResponse(model=await self._model(name))

    async def _once(self, request: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        self._check_allowed()
        key = request.idempotency_key
        if not key:
            return await call()
        body = type(request)()
        body.CopyFrom(request)
        body.ClearField("idempotency_key")
        told = f"{type(request).__name__} ".encode() + body.SerializeToString(deterministic=True)
        return await self._keys.once(key, told, call)

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise AdminRefused(
                "Administrative calls are off: start the server with ADCAPTUM_ADMIN_CALLS=true."
            )

    async def _named(self, reference: model_pb2.ModelRef) -> tuple[str, str]:
        """Returns the name and the version that a request means; no version: an empty text."""
        if not reference.name:
            raise InvalidRequest("model.name", "missing")
        if reference.WhichOneof("selector") != "alias":
            return reference.name, reference.version
        described = await self._describe(reference, full=False)
        return reference.name, described.versions[0].identity.version

    async def _model(self, name: str) -> model_pb2.Model:
        return await self._describe(model_pb2.ModelRef(name=name), full=False)

    async def _version(self, reference: model_pb2.ModelRef) -> model_pb2.ModelVersion:
        """Returns the version that a request means, or else the default one."""
        model = await self._describe(reference, full=False)
        named = [each for each in model.versions if each.identity.version == model.default_version]
        chosen = reference.WhichOneof("selector") is not None
        return model.versions[0] if chosen or not named else named[0]
