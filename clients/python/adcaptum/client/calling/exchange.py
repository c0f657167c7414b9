"""The sequence of calls of each operation, shared by both clients.

An exchange is a generator: it yields calls, receives their responses, and returns the result. Its
driver, the blocking or the asynchronous client, decides whether to block or to await.
"""

from collections.abc import Sequence
from typing import TypeAlias, TypedDict

from adcaptum.client.calling.calls import Call, Exchange, ask
from adcaptum.client.calling.memory import Memory
from adcaptum.client.calling.preparation import convert, get_model, prepared_explain, read_inputs
from adcaptum.client.codec.descriptions import (
    decode_method_info,
    decode_model,
    decode_server,
    decode_worker,
)
from adcaptum.client.codec.inputs import Inputs
from adcaptum.client.codec.replies import decode_explanations, decode_prediction
from adcaptum.client.codec.requests import model_ref, predict_request
from adcaptum.client.codec.status import REQUEST_ID_KEY
from adcaptum.client.errors import Internal
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.method_info import MethodInfo
from adcaptum.client.results.model_info import ModelInfo
from adcaptum.client.results.prediction import PredictResult
from adcaptum.client.results.server_info import ServerInfo
from adcaptum.client.results.worker_info import WorkerInfo
from adcaptum.client.spec import ExplainOptions
from adcaptum.v1 import explanation_service_pb2, repository_service_pb2

StreamCall: TypeAlias = Call[
    explanation_service_pb2.ExplainStreamRequest, explanation_service_pb2.ExplainStreamResponse
]
Metadata: TypeAlias = tuple[tuple[str, str], ...]


class PredictOptions(TypedDict):
    """Options of a prediction, as `Client.predict` describes them."""

    version: str | None
    alias: str | None
    max_labels: int | None


def metadata(shared: Metadata, request_id: str | None) -> Metadata:
    """Return the metadata of a call: the client's own and the request's id."""
    if not request_id:
        return shared
    own = (REQUEST_ID_KEY, request_id)
    return (*(each for each in shared if each[0] != REQUEST_ID_KEY), own)


def predict(
    memory: Memory,
    model: str,
    inputs: Inputs,
    options: PredictOptions,
    *,
    timeout: float | None,
    request_id: str | None,
) -> Exchange[PredictResult]:
    """Predict."""
    ref = model_ref(model, options["version"], options["alias"])
    read = yield from read_inputs(memory, ref, inputs)
    request = predict_request(model, read, **options)
    yield from convert(memory, request.model, request.inputs)
    memory.predict.learn(model, inputs, options, request)
    call: Call[explanation_service_pb2.PredictRequest, explanation_service_pb2.PredictResponse] = (
        Call(lambda stub: stub.Predict, request, timeout, request_id)
    )
    return decode_prediction((yield from ask(call)))


def explain(
    memory: Memory,
    model: str,
    inputs: Inputs,
    options: ExplainOptions,
    *,
    timeout: float | None,
    request_id: str | None,
) -> Exchange[Explanations]:
    """Explain."""
    request = yield from prepared_explain(memory, model, inputs, options)
    memory.explain.learn(model, inputs, options, request)
    call: Call[explanation_service_pb2.ExplainRequest, explanation_service_pb2.ExplainResponse] = (
        Call(lambda stub: stub.Explain, request, timeout, request_id)
    )
    return decode_explanations((yield from ask(call)))


def explain_stream(
    memory: Memory,
    model: str,
    inputs: Inputs,
    options: ExplainOptions,
    *,
    timeout: float | None,
    request_id: str | None,
) -> Exchange[StreamCall]:
    """Prepare the streaming call; `EventDecoder` reads its responses."""
    explain = yield from prepared_explain(memory, model, inputs, options)
    request = explanation_service_pb2.ExplainStreamRequest(explain=explain)
    return Call(lambda stub: stub.ExplainStream, request, timeout, request_id)


def models() -> Exchange[tuple[ModelInfo, ...]]:
    """List the models, page by page."""
    listed: list[ModelInfo] = []
    request = explanation_service_pb2.ListModelsRequest()
    while True:
        call: Call[
            explanation_service_pb2.ListModelsRequest, explanation_service_pb2.ListModelsResponse
        ] = Call(lambda stub: stub.ListModels, request)
        page = yield from ask(call)
        listed += map(decode_model, page.models)
        if not page.next_page_token:
            return tuple(listed)
        request = explanation_service_pb2.ListModelsRequest(
            page_token=_next(request.page_token, page.next_page_token)
        )


def model(name: str, *, version: str | None, alias: str | None) -> Exchange[ModelInfo]:
    """Describe a model."""
    response = yield from ask(get_model(model_ref(name, version, alias)))
    return decode_model(response.model)


def methods(name: str | None) -> Exchange[tuple[MethodInfo, ...]]:
    """List the methods, page by page, and mark those that a model can run."""
    ref = None if name is None else model_ref(name)
    listed: list[MethodInfo] = []
    request = explanation_service_pb2.ListMethodsRequest(model=ref)
    while True:
        call: Call[
            explanation_service_pb2.ListMethodsRequest, explanation_service_pb2.ListMethodsResponse
        ] = Call(lambda stub: stub.ListMethods, request)
        page = yield from ask(call)
        listed += map(decode_method_info, page.methods)
        if not page.next_page_token:
            return tuple(listed)
        request = explanation_service_pb2.ListMethodsRequest(
            model=ref, page_token=_next(request.page_token, page.next_page_token)
        )


def workers() -> Exchange[tuple[WorkerInfo, ...]]:
    """List the workers, page by page."""
    listed: list[WorkerInfo] = []
    request = repository_service_pb2.ListWorkersRequest()
    while True:
        call: Call[
            repository_service_pb2.ListWorkersRequest, repository_service_pb2.ListWorkersResponse
        ] = Call(lambda stub: stub.ListWorkers, request)
        page = yield from ask(call)
        listed += map(decode_worker, page.workers)
        if not page.next_page_token:
            return tuple(listed)
        request = repository_service_pb2.ListWorkersRequest(
            page_token=_next(request.page_token, page.next_page_token)
        )


def restart_workers(workers: Sequence[str]) -> Exchange[tuple[WorkerInfo, ...]]:
    """Replace workers."""
    call: Call[
        repository_service_pb2.RestartWorkersRequest, repository_service_pb2.RestartWorkersResponse
    ] = Call(
        lambda stub: stub.RestartWorkers,
        repository_service_pb2.RestartWorkersRequest(workers=workers),
    )
    return tuple(map(decode_worker, (yield from ask(call)).workers))


def server() -> Exchange[ServerInfo]:
    """Describe the server."""
    call: Call[
        explanation_service_pb2.GetServerRequest, explanation_service_pb2.GetServerResponse
    ] = Call(lambda stub: stub.GetServer, explanation_service_pb2.GetServerRequest())
    return decode_server((yield from ask(call)))


def _next(token: str, following: str) -> str:
    """Return the token of the next page; a server that repeats one would be asked for ever."""
    if token == following:
        raise Internal("the server lists the same page again and again")
    return following
