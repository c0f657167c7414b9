"""The gRPC service of the Open Inference Protocol."""
# ruff: noqa: N802 - names are gRPC's

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from time import monotonic
from typing import Any, Final, NoReturn, cast

import grpc
from prometheus_client import CollectorRegistry

from adcaptum.service.errors import InvalidRequest, TooBusy
from adcaptum.service.nearest import shortened
from adcaptum.service.protocols.oip.catalogue import Catalogue
from adcaptum.service.protocols.oip.descriptions import Descriptions
from adcaptum.service.protocols.oip.inference import EXPLAIN, Inference
from adcaptum.service.protocols.oip.model_repository import ModelRepository
from adcaptum.service.protocols.oip.statistics import Statistics
from adcaptum.service.protocols.oip.wire import descriptions_writer, reply_writer, request_reader
from adcaptum.service.protocols.oip.wire.messages import SERVICE, message
from adcaptum.service.rpc.error_answers import DETAILS_KEY
from adcaptum.service.rpc.local.calls import CallFailed, Envelope, LocalCalls
from adcaptum.service.rpc.local.context import Certificate
from adcaptum.service.rpc.messages import Context, MessageReader, RequestWaits

EXTENSIONS: Final = (
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
    "adcaptum_explain",
)
"""The extensions of the protocol that this server has, in Triton's words, and its own."""

MOST_STREAMS: Final = 256
"""The most streams at a time: they may stay open for days."""

UNIMPLEMENTED: Final = {
    "TraceSetting": "traces are set up where the server is started, not by calls",
    "LogSettings": "the level of the log is set where the server is started, not by calls",
    "SystemSharedMemoryStatus": "this server shares no memory with clients",
    "SystemSharedMemoryRegister": "this server shares no memory with clients",
    "CudaSharedMemoryStatus": "this server shares no memory with clients",
    "CudaSharedMemoryRegister": "this server shares no memory with clients",
}
"""The methods of the protocol that this server lacks, and why."""

Answer = Callable[[Any, Envelope], Awaitable[Any]]


class OipServicer:
    """Answers the calls of GRPCInferenceService by calls of our own services."""

    def __init__(
        self, calls: LocalCalls, registry: CollectorRegistry, unready: Callable[[], str]
    ) -> None:
        """Prepares it.

        Args:
            calls: Calls of the server's own services.
            registry: Where its metrics are shown.
            unready: Returns why the server is not ready; empty if it is.
        """
        self._unready = unready
        self._waits = RequestWaits()
        self._streams = 0
        self._descriptions = Descriptions(calls)
        self._repository = ModelRepository(calls)
        statistics = Statistics(registry)
        self.inference = Inference(calls, self._descriptions, statistics)
        self.catalogue = Catalogue(self._descriptions, self.inference, statistics)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Returns the handlers of the service; they read their requests themselves."""
        unary: dict[str, Answer] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
            "SystemSharedMemoryUnregister": _reply("SystemSharedMemoryUnregisterResponse"),
            "CudaSharedMemoryUnregister": _reply("CudaSharedMemoryUnregisterResponse"),
        }
        found: dict[str, Any] = {
            name: grpc.stream_unary_rpc_method_handler(self._unary(f"{name}Request", answer))
            for name, answer in unary.items()
        }
        found["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self.ModelInfer)
        found["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self.ModelStreamInfer)
        for name, reason in UNIMPLEMENTED.items():
            found[name] = grpc.stream_unary_rpc_method_handler(_unimplemented(name, reason))
        return grpc.method_handlers_generic_handler(SERVICE, found)

    async def ModelInfer(self, _: Any, context: Context) -> bytes:
        """Predicts or explains."""
        envelope, raw = _envelope(context), b""
        try:
            try:
                raw = await self._waits.received(context)
                request = request_reader.read(raw)
            except Exception as error:  # noqa: BLE001  # answered as an error of our own calls
                await self.inference.unread(error, request_reader.identity(raw), envelope)
            del raw
            reply = await self.inference.infer(request, envelope)
        except CallFailed as failed:
            return await _abort(context, failed)
        return reply_writer.written(reply)

    async def ModelStreamInfer(self, _: Any, context: Context) -> AsyncIterator[bytes]:
        """Answers one request after another; an error is told, and the next one answered."""
        envelope = _envelope(context)
        self._streams += 1
        try:
            if self._streams > MOST_STREAMS:
                full = TooBusy(f"{MOST_STREAMS} streams are open", retry_s=1.0, limit="requests")
                try:
                    await self.inference.refuse(full, envelope, EXPLAIN)
                except CallFailed as failed:
                    await _abort(context, failed)
            while isinstance(raw := await context.read(), bytes):
                async with aclosing(self._answers(raw, envelope)) as answers:
                    async for answer in answers:
                        yield answer
        finally:
            self._streams -= 1

    async def _answers(self, raw: bytes, envelope: Envelope) -> AsyncGenerator[bytes, None]:
        """Yields the replies to one request of a stream, errors among them."""
        known = request_reader.identity(raw)
        try:
            try:
                request = request_reader.read(raw)
            except Exception as error:  # noqa: BLE001  # answered as an error of our own calls
                await self.inference.unread(error, known, envelope, EXPLAIN)
            del raw
            async with aclosing(self.inference.stream(request, envelope)) as replies:
                async for reply in replies:
                    yield reply_writer.streamed(reply)
        except CallFailed as failed:
            yield reply_writer.failed(failed.message, known.model_name, known.id)

    def _unary(self, kind: str, answer: Answer) -> Callable[[Any, Context], Awaitable[bytes]]:
        """Returns a method with small requests."""
        reader = MessageReader.of(message(kind).FromString)

        async def unary(_: Any, context: Context) -> bytes:
            envelope = _envelope(context)
            try:
                try:
                    raw = await self._waits.received(context)
                    reply = await answer(reader.decode(raw), envelope)
                except CallFailed:
                    raise
                except Exception as error:  # noqa: BLE001  # as an error of our own calls
                    await self.inference.refuse(error, envelope, "GetModel")
            except CallFailed as failed:
                return await _abort(context, failed)
            return cast("bytes", reply.SerializeToString())

        return unary

    async def _server_live(self, _: Any, __: Envelope) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _server_ready(self, _: Any, __: Envelope) -> Any:
        return message("ServerReadyResponse")(ready=not self._unready())

    async def _server_metadata(self, _: Any, envelope: Envelope) -> Any:
        found = await self._descriptions.server(envelope)
        return message("ServerMetadataResponse")(
            name="adcaptum", version=found.version, extensions=EXTENSIONS
        )

    async def _model_ready(self, request: Any, envelope: Envelope) -> Any:
        ready = await self.catalogue.is_ready(request.name, request.version, envelope)
        return message("ModelReadyResponse")(ready=ready)

    async def _model_metadata(self, request: Any, envelope: Envelope) -> Any:
        found = await self.catalogue.metadata(request.name, request.version, envelope)
        return descriptions_writer.metadata(found)

    async def _model_config(self, request: Any, envelope: Envelope) -> Any:
        found = await self.catalogue.metadata(request.name, request.version, envelope)
        return descriptions_writer.config(found)

    async def _model_statistics(self, request: Any, envelope: Envelope) -> Any:
        found = await self.catalogue.statistics(request.name, request.version, envelope)
        return descriptions_writer.statistics(found)

    async def _repository_index(self, request: Any, envelope: Envelope) -> Any:
        _check_repository(request)
        found = await self.catalogue.index(envelope, ready=request.ready)
        return descriptions_writer.index(found)

    async def _repository_model_load(self, request: Any, envelope: Envelope) -> Any:
        _check_repository(request)
        await self._repository.load(request.model_name, request.parameters, envelope)
        return message("RepositoryModelLoadResponse")()

    async def _repository_model_unload(self, request: Any, envelope: Envelope) -> Any:
        _check_repository(request)
        await self._repository.unload(request.model_name, request.parameters, envelope)
        return message("RepositoryModelUnloadResponse")()


def _reply(kind: str) -> Answer:
    """Returns a method that answers with an empty message."""

    async def answer(_: Any, __: Envelope) -> Any:
        return message(kind)()

    return answer


def _unimplemented(name: str, reason: str) -> Callable[[Any, Context], Awaitable[bytes]]:
    async def unimplemented(_: Any, context: Context) -> bytes:
        return await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name}: {reason}")

    return unimplemented


def _check_repository(request: Any) -> None:
    if request.repository_name:
        raise InvalidRequest(
            "repository_name",
            f"{shortened(request.repository_name)}; must be empty, there is one repository",
        )


def _envelope(context: Context) -> Envelope:
    # None without a deadline, whatever the stubs say.
    remaining = cast("float | None", context.time_remaining())
    metadata = [
        (key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)
    ]
    deadline = None if remaining is None else monotonic() + remaining
    certificate = cast("Certificate", context.auth_context)
    return Envelope(metadata, deadline, context.peer(), certificate)


async def _abort(context: Context, failed: CallFailed) -> NoReturn:
    trailing: list[tuple[str, str | bytes]] = [*failed.trailing.items()]
    if failed.details:
        trailing.append((DETAILS_KEY, failed.details))
    await context.abort(failed.code, failed.message, tuple(trailing))
    raise AssertionError("an aborted call has ended")
