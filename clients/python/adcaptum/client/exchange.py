"""The sequence of calls of each operation, shared by both clients.

An exchange is a generator: it yields calls, receives their responses, and returns the result. Its
driver, the blocking or the asynchronous client, decides whether to block or to await.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar

from google.protobuf.message import Message

from adcaptum.client.codec.descriptions import (
    decode_method_info,
    decode_model,
    decode_server,
    decode_worker,
)
from adcaptum.client.codec.inputs import (
    Inputs,
    convert_to_declared,
    has_default_datatype,
    names_files,
    with_files,
)
from adcaptum.client.codec.replies import decode_explanations, decode_prediction
from adcaptum.client.codec.requests import explain_request, model_ref, predict_request
from adcaptum.client.codec.status import REQUEST_ID_KEY
from adcaptum.client.errors import AdcaptumError, Internal
from adcaptum.client.memory import Memory
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.method_info import MethodInfo
from adcaptum.client.results.model_info import InputInfo, ModelInfo
from adcaptum.client.results.prediction import PredictResult
from adcaptum.client.results.server_info import ServerInfo
from adcaptum.client.results.worker_info import WorkerInfo
from adcaptum.client.services import Services
from adcaptum.client.spec import ExplainOptions
from adcaptum.v1 import (
    explanation_service_pb2,
    model_pb2,
    repository_service_pb2,
    tensor_pb2,
)

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")

# A look-up of declared datatypes must not delay a request that can do without.
_LOOK_UP_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Call(Generic[_Request, _Response]):
    """A call of the service.

    Attributes:
        rpc: Selects the method of the stub; blocking or awaitable, as the stub is.
        request: The message to send.
        timeout_s: Timeout in seconds; None for the client's default.
        request_id: The id under which the server logs it; None lets the server generate one.
    """

    rpc: Callable[[Services], Any]
    request: _Request
    timeout_s: float | None = None
    request_id: str | None = None


AnyCall: TypeAlias = Call[Any, Any]
Exchange: TypeAlias = Generator[AnyCall, Any, _Result]
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
    if names_files(inputs):
        ref = model_ref(model, options["version"], options["alias"])
        inputs = yield from _read_files(memory, ref, inputs)
    request = predict_request(model, inputs, **options)
    yield from _convert(memory, request.model, request.inputs)
    memory.predict.learn(model, inputs, options, request)
    call: Call[explanation_service_pb2.PredictRequest, explanation_service_pb2.PredictResponse] = (
        Call(lambda stub: stub.Predict, request, timeout, request_id)
    )
    return decode_prediction((yield from _ask(call)))


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
    request = yield from _explain_request(memory, model, inputs, options)
    memory.explain.learn(model, inputs, options, request)
    call: Call[explanation_service_pb2.ExplainRequest, explanation_service_pb2.ExplainResponse] = (
        Call(lambda stub: stub.Explain, request, timeout, request_id)
    )
    return decode_explanations((yield from _ask(call)))


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
    explain = yield from _explain_request(memory, model, inputs, options)
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
        page = yield from _ask(call)
        listed += map(decode_model, page.models)
        if not page.next_page_token:
            return tuple(listed)
        request = explanation_service_pb2.ListModelsRequest(
            page_token=_next(request.page_token, page.next_page_token)
        )


def model(name: str, *, version: str | None, alias: str | None) -> Exchange[ModelInfo]:
    """Describe a model."""
    response = yield from _ask(_get_model(model_ref(name, version, alias)))
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
        page = yield from _ask(call)
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
        page = yield from _ask(call)
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
    return tuple(map(decode_worker, (yield from _ask(call)).workers))


def server() -> Exchange[ServerInfo]:
    """Describe the server."""
    call: Call[
        explanation_service_pb2.GetServerRequest, explanation_service_pb2.GetServerResponse
    ] = Call(lambda stub: stub.GetServer, explanation_service_pb2.GetServerRequest())
    return decode_server((yield from _ask(call)))


def _ask(call: Call[_Request, _Response]) -> Exchange[_Response]:
    response: _Response = yield call
    return response


def _next(token: str, following: str) -> str:
    """Return the token of the next page; a server that repeats one would be asked for ever."""
    if token == following:
        raise Internal("the server lists the same page again and again")
    return following


def _explain_request(
    memory: Memory, model: str, inputs: Inputs, options: ExplainOptions
) -> Exchange[explanation_service_pb2.ExplainRequest]:
    if names_files(inputs):
        ref = model_ref(model, options.get("version"), options.get("alias"))
        inputs = yield from _read_files(memory, ref, inputs)
    request = explain_request(model, inputs, options)
    tensors = list(request.inputs)
    if request.HasField("spec"):
        tensors += _baselines_of(request)
    yield from _convert(memory, request.model, tensors)
    return request


def _baselines_of(
    request: explanation_service_pb2.ExplainRequest,
) -> Iterable[tensor_pb2.Tensor]:
    """Yield the tensors of baselines, which have the datatypes of the model's inputs."""
    for each in request.spec.baselines:
        if (kind := each.WhichOneof("kind")) in {"tensor", "distribution"}:
            yield getattr(each, kind)


def _read_files(memory: Memory, ref: model_pb2.ModelRef, inputs: Inputs) -> Exchange[Inputs]:
    """Read the images that a text names by its path; only the model tells them from texts."""
    declared = yield from _look_up(memory, ref)
    return with_files(inputs, declared)


def _convert(
    memory: Memory, ref: model_pb2.ModelRef, tensors: Iterable[tensor_pb2.Tensor]
) -> Exchange[None]:
    """Convert tensors of numpy's default datatypes to those that the model declares."""
    chosen = [tensor for tensor in tensors if has_default_datatype(tensor)]
    if not chosen:
        return
    declared = yield from _look_up(memory, ref)
    for tensor in chosen:
        convert_to_declared(tensor, declared)


def _look_up(memory: Memory, ref: model_pb2.ModelRef) -> Exchange[tuple[InputInfo, ...]]:
    """Return the inputs that a model declares; none if it cannot be described."""
    key = ref.SerializeToString(deterministic=True)
    if key not in memory.inputs:
        try:
            response = yield from _ask(_get_model(ref, _LOOK_UP_TIMEOUT_S, basic=True))
        except AdcaptumError:
            # Sending an invalid request brings the precise error.
            return ()
        described = decode_model(response.model)
        if not (described.versions and described.default.inputs):
            # It has not been read yet.
            return ()
        memory.inputs[key] = described.default.inputs
    return memory.inputs[key]


def _get_model(
    ref: model_pb2.ModelRef, timeout_s: float | None = None, *, basic: bool = False
) -> Call[explanation_service_pb2.GetModelRequest, explanation_service_pb2.GetModelResponse]:
    request = explanation_service_pb2.GetModelRequest(model=ref)
    if basic:
        request.view = explanation_service_pb2.MODEL_VIEW_BASIC
    return Call(lambda stub: stub.GetModel, request, timeout_s)
