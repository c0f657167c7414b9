"""A server at the end of a real connection that says what it was told to."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped] # without a marker
from grpc_status import rpc_status  # type: ignore[import-untyped] # it comes without types

from adcaptum.v1 import (
    explanation_service_pb2,
    explanation_service_pb2_grpc,
    repository_service_pb2 as repository_pb2,
    repository_service_pb2_grpc as repository_grpc,
)
from tests.unit.client import canned

_Listed = TypeVar("_Listed")


class CannedServicer(
    explanation_service_pb2_grpc.ExplanationServiceServicer,
    repository_grpc.RepositoryServiceServicer,
):
    """Answers with canned messages and remembers what it was asked.

    Attributes:
        failures: Errors with which the next calls end instead.
        described: The answer to GetModel.
        explanations: The answer to Explain.
        asked: Name and request of every call.
        metadata: The metadata of the last call.
        seconds_left: What the last call's deadline left; None without one.
        page_size: Models and methods in a page of a list.
        endless: Whether a stream goes on until it is left.
        stream_ended: Set when a stream has ended.
    """

    def __init__(self) -> None:
        self.failures: deque[status_pb2.Status] = deque()
        self.described = canned.model()
        self.explanations = canned.explained()
        self.asked: list[tuple[str, Message]] = []
        self.metadata: dict[str, str | bytes] = {}
        self.seconds_left: float | None = None
        self.page_size = 100
        self.endless = False
        self.stream_ended = threading.Event()

    @property
    def rpcs(self) -> list[str]:
        return [name for name, _ in self.asked]

    def Predict(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.PredictResponse:
        self._enter("Predict", request, context)
        return canned.prediction()

    def Explain(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.ExplainRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.ExplainResponse:
        self._enter("Explain", request, context)
        return self.explanations

    def ExplainStream(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.ExplainStreamRequest, context: grpc.ServicerContext
    ) -> Iterator[explanation_service_pb2.ExplainStreamResponse]:
        self._enter("ExplainStream", request, context)
        context.add_callback(self.stream_ended.set)
        yield from canned.events()
        while self.endless and context.is_active():
            yield canned.events()[1]

    def ListModels(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.ListModelsResponse:
        self._enter("ListModels", request, context)
        models, token = self._page([self.described], request.page_token)
        return explanation_service_pb2.ListModelsResponse(models=models, next_page_token=token)

    def GetModel(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.GetModelResponse:
        self._enter("GetModel", request, context)
        return explanation_service_pb2.GetModelResponse(model=self.described)

    def ListMethods(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.ListMethodsRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.ListMethodsResponse:
        self._enter("ListMethods", request, context)
        methods, token = self._page(canned.methods(), request.page_token)
        return explanation_service_pb2.ListMethodsResponse(methods=methods, next_page_token=token)

    def GetServer(  # noqa: N802 - the protocol names it
        self, request: explanation_service_pb2.GetServerRequest, context: grpc.ServicerContext
    ) -> explanation_service_pb2.GetServerResponse:
        self._enter("GetServer", request, context)
        return explanation_service_pb2.GetServerResponse(version="0.2.0", extensions=["records"])

    def ListWorkers(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.ListWorkersRequest, context: grpc.ServicerContext
    ) -> repository_pb2.ListWorkersResponse:
        self._enter("ListWorkers", request, context)
        workers = [
            repository_pb2.Worker(
                id="0",
                device="cpu",
                state=repository_pb2.WORKER_STATE_READY,
                pid=7,
                models=["cells"],
            ),
            repository_pb2.Worker(id="1", device="cuda:0", restarts=3, reason="x"),
        ]
        shown, token = self._page(workers, request.page_token)
        return repository_pb2.ListWorkersResponse(workers=shown, next_page_token=token)

    def RestartWorkers(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.RestartWorkersRequest, context: grpc.ServicerContext
    ) -> repository_pb2.RestartWorkersResponse:
        self._enter("RestartWorkers", request, context)
        ids = request.workers or ["0", "1"]
        return repository_pb2.RestartWorkersResponse(
            workers=[repository_pb2.Worker(id=each, restarts=1) for each in ids]
        )

    def LoadModel(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.LoadModelRequest, context: grpc.ServicerContext
    ) -> repository_pb2.LoadModelResponse:
        self._enter("LoadModel", request, context)
        return repository_pb2.LoadModelResponse(version=self.described.versions[0])

    def UnloadModel(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.UnloadModelRequest, context: grpc.ServicerContext
    ) -> repository_pb2.UnloadModelResponse:
        self._enter("UnloadModel", request, context)
        return repository_pb2.UnloadModelResponse(version=self.described.versions[0])

    def SetAlias(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.SetAliasRequest, context: grpc.ServicerContext
    ) -> repository_pb2.SetAliasResponse:
        self._enter("SetAlias", request, context)
        return repository_pb2.SetAliasResponse(model=self.described)

    def DeleteAlias(  # noqa: N802 - the protocol names it
        self, request: repository_pb2.DeleteAliasRequest, context: grpc.ServicerContext
    ) -> repository_pb2.DeleteAliasResponse:
        self._enter("DeleteAlias", request, context)
        return repository_pb2.DeleteAliasResponse(model=self.described)

    def _page(self, everything: list[_Listed], token: str) -> tuple[list[_Listed], str]:
        start = int(token or 0)
        end = start + self.page_size
        return everything[start:end], str(end) if end < len(everything) else ""

    def _enter(self, name: str, request: Message, context: grpc.ServicerContext) -> None:
        self.asked.append((name, request))
        self.metadata = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        if self.failures:
            _fail(context, self.failures.popleft())


def failure(code: int, message: str, *details: Message) -> status_pb2.Status:
    """An error as the server sends it."""
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def unavailable() -> status_pb2.Status:
    return failure(code_pb2.UNAVAILABLE, "draining")


@contextlib.contextmanager
def serving(servicer: CannedServicer) -> Iterator[str]:
    """Serve on a free port of this machine, and give its address."""
    pool = futures.ThreadPoolExecutor(max_workers=4)
    server = grpc.server(pool)
    explanation_service_pb2_grpc.add_ExplanationServiceServicer_to_server(servicer, server)
    repository_grpc.add_RepositoryServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()


def _fail(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort raises")
