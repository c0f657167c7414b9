"""The services of a front: bytes to workers, and descriptions put together from all of them."""
# ruff: noqa: N802 - names are gRPC's

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc

from adcaptum.service.errors import AdminRefused, InvalidRequest
from adcaptum.service.front import merging
from adcaptum.service.front.forwarder import Forwarder
from adcaptum.service.front.passage import Passage
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.rpc.calls import CALLER_KEY, ID_KEY, MOST_ID, ROWS_KEY
from adcaptum.service.rpc.interceptors import CALL
from adcaptum.service.rpc.messages import Context
from adcaptum.service.rpc.repository.change_handlers import Changes, change_handlers
from adcaptum.service.rpc.repository.worker_pages import listed
from adcaptum.service.supervisor.views import SlotView, WorkerView
from adcaptum.v1 import explanation_service_pb2 as pb, repository_service_pb2 as repository_pb2

EXPLANATION: Final = "adcaptum.v1.ExplanationService"
REPOSITORY: Final = "adcaptum.v1.RepositoryService"

UNARY: Final = ("Predict", "Explain", "ListMethods", "GetServer")
STREAMED: Final = ("ExplainStream",)
PASSED_KEYS: Final = frozenset({"traceparent", "tracestate"})
"""The metadata that workers get as it is, beside the request's id and its caller."""

LISTING_SECONDS: Final = 10.0
"""The longest wait for a worker's description of its models."""


Restart = Callable[[Sequence[str]], Awaitable[None]]


class FrontServicer:
    """Answers the calls of both services."""

    def __init__(
        self,
        forwarder: Forwarder,
        slots: Sequence[SlotView],
        quarantined: Mapping[str, str],
        restart: Restart | None,
        *,
        changes: Changes,
        front: str = "",
    ) -> None:
        """Prepares it.

        Args:
            forwarder: Sends requests to workers.
            slots: The places of the workers.
            quarantined: The reason of each model that is out of service.
            restart: Replaces workers; None: callers must not.
            changes: The calls that load and unload models and move aliases.
            front: The id of the front; empty if there is only one.
        """
        self._front = front
        self._forwarder = forwarder
        self._restart = restart
        self._changes = changes
        self._slots = slots
        self._quarantined = quarantined

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Returns the handlers of the services."""
        explanation: dict[str, Any] = {
            rpc: grpc.unary_unary_rpc_method_handler(self._unary(rpc)) for rpc in UNARY
        }
        for rpc in STREAMED:
            explanation[rpc] = grpc.unary_stream_rpc_method_handler(self._stream(rpc))
        explanation["ListModels"] = grpc.unary_unary_rpc_method_handler(
            self.ListModels,
            pb.ListModelsRequest.FromString,
            pb.ListModelsResponse.SerializeToString,
        )
        explanation["GetModel"] = grpc.unary_unary_rpc_method_handler(
            self.GetModel, pb.GetModelRequest.FromString, pb.GetModelResponse.SerializeToString
        )
        repository: dict[str, Any] = {
            "ListWorkers": grpc.unary_unary_rpc_method_handler(
                self.ListWorkers,
                repository_pb2.ListWorkersRequest.FromString,
                repository_pb2.ListWorkersResponse.SerializeToString,
            ),
            "RestartWorkers": grpc.unary_unary_rpc_method_handler(
                self.RestartWorkers,
                repository_pb2.RestartWorkersRequest.FromString,
                repository_pb2.RestartWorkersResponse.SerializeToString,
            ),
            **change_handlers(self._changes),
        }
        return (
            grpc.method_handlers_generic_handler(EXPLANATION, explanation),
            grpc.method_handlers_generic_handler(REPOSITORY, repository),
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> Any:
        """Lists the models, with their placements on all workers."""
        passage = self._passage("ListModels", request.SerializeToString(), context)
        first = pb.ListModelsResponse.FromString(await self._forwarder.unary(passage))
        others = await self._from_others(passage, pb.ListModelsResponse.FromString)
        joined = merging.joined([first, *others], request.page_size)
        merging.mark_quarantined(joined.models, self._quarantined)
        return joined

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> Any:
        """Describes a model, with its placements on all workers."""
        passage = self._passage("GetModel", request.SerializeToString(), context)
        first = pb.GetModelResponse.FromString(await self._forwarder.unary(passage))
        others = await self._from_others(passage, pb.GetModelResponse.FromString)
        for each in others:
            merging.add_placements([first.model], [each.model])
        merging.mark_quarantined([first.model], self._quarantined)
        return first

    async def ListWorkers(self, request: repository_pb2.ListWorkersRequest, _: Context) -> Any:
        """Lists the workers."""
        return listed([merging.worker(slot, self._quarantined) for slot in self._slots], request)

    async def RestartWorkers(
        self, request: repository_pb2.RestartWorkersRequest, _: Context
    ) -> Any:
        """Replaces workers by new processes."""
        if self._restart is None:
            raise AdminRefused(
                "Administrative calls are off: start the server with ADCAPTUM_ADMIN_CALLS=true, or "
                "send it SIGHUP."
            )
        known = [slot.id for slot in self._slots]
        for index, worker in enumerate(request.workers):
            if worker not in known:
                allowed = did_you_mean(worker, known)
                raise InvalidRequest(
                    f"workers[{index}]", f"{shortened(worker)}: there is no such worker. {allowed}"
                )
        chosen = sorted({*request.workers}, key=known.index)
        await self._restart(chosen)
        slots = [slot for slot in self._slots if not chosen or slot.id in chosen]
        return repository_pb2.RestartWorkersResponse(
            workers=[merging.worker(slot, self._quarantined) for slot in slots]
        )

    def _unary(self, rpc: str) -> Callable[[bytes, Context], Any]:
        async def forward(raw: bytes, context: Context) -> bytes:
            return await self._forwarder.unary(self._passage(rpc, raw, context))

        return forward

    def _stream(self, rpc: str) -> Callable[[bytes, Context], AsyncGenerator[bytes, None]]:
        return lambda raw, context: self._forwarder.stream(self._passage(rpc, raw, context))

    async def _from_others(self, passage: Passage, read: Callable[[bytes], Any]) -> list[Any]:
        """Asks the workers that have not answered yet; those that do not answer are left out."""

        async def ask(process: WorkerView) -> Any:
            call = process.link.call(passage.path, streamed=False)
            try:
                return read(
                    await call(passage.raw, timeout=LISTING_SECONDS, metadata=passage.metadata)
                )
            except grpc.aio.AioRpcError:
                return None

        asked = [slot.process for slot in self._slots]
        living = [each for each in asked if each is not None and each.listening]
        living = [each for each in living if each is not passage.process]
        answers = await asyncio.gather(*(ask(process) for process in living))
        return [each for each in answers if each is not None]

    def _passage(self, rpc: str, raw: bytes, context: Context) -> Passage:
        call = CALL.get()
        # Callers of several fronts may use one id at a time.
        request_id = own_id(call.id, self._front) if self._front else call.id
        metadata = [(ID_KEY, request_id), (CALLER_KEY, call.caller)]
        if call.most_rows is not None:
            metadata.append((ROWS_KEY, str(call.most_rows)))
        metadata += [
            (key, value)
            for key, value in context.invocation_metadata() or ()
            if key in PASSED_KEYS and isinstance(value, str)
        ]
        return Passage(f"/{EXPLANATION}/{rpc}", rpc, raw, call, request_id, metadata)


def own_id(request_id: str, front: str) -> str:
    """Returns an id that no request of another front has, of at most `MOST_ID` characters.

    Args:
        request_id: The id, which no other request of this front has.
        front: The id of the front.
    """
    if len(request_id) + len(front) < MOST_ID:
        return f"{request_id}.{front}"
    return f"{request_id[: MOST_ID - len(front) - 10]}.{secrets.token_hex(4)}.{front}"
