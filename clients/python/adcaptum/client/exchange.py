"""The sequence of calls of each operation, shared by both clients.

An exchange is a generator: it yields calls, receives their responses, and returns the result. Its
driver, the blocking or the asynchronous client, decides whether to block or to await.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar, Unpack

from google.protobuf.message import Message

from adcaptum.client.codec.descriptions import decode_method_info, decode_model
from adcaptum.client.codec.inputs import (
    Inputs,
    convert_to_declared,
    has_default_datatype,
    names_files,
    with_files,
)
from adcaptum.client.codec.replies import (
    decode_event,
    decode_explanations,
    decode_prediction,
    lacks_names,
)
from adcaptum.client.codec.requests import (
    ExplainOptions,
    explain_request,
    model_ref,
    predict_request,
)
from adcaptum.client.codec.status import REQUEST_ID_KEY
from adcaptum.client.errors import AdcaptumError
from adcaptum.client.results.events import Event
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.method_info import MethodInfo
from adcaptum.client.results.model_info import ModelInfo
from adcaptum.client.results.prediction import PredictResult
from adcaptum.v1 import explanation_service_pb2, explanation_service_pb2_grpc, model_pb2, tensor_pb2

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")

# A look-up of names must not delay an answer that has arrived.
_LOOK_UP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Call(Generic[_Request, _Response]):
    """A call of the service.

    Attributes:
        rpc: Selects the method of the stub; blocking or awaitable, as the stub is.
        request: The message to send.
        timeout_s: Timeout in seconds; None for the client's default.
        request_id: The id under which the server logs it; None lets the server generate one.
    """

    rpc: Callable[[explanation_service_pb2_grpc.ExplanationServiceStub], Any]
    request: _Request
    timeout_s: float | None = None
    request_id: str | None = None

    def metadata(self, shared: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the metadata of the call: the client's own and the request's id."""
        own = {REQUEST_ID_KEY: self.request_id} if self.request_id else {}
        return tuple({**shared, **own}.items())


AnyCall: TypeAlias = Call[Any, Any]
Exchange: TypeAlias = Generator[AnyCall, Any, _Result]
StreamCall: TypeAlias = Call[
    explanation_service_pb2.ExplainStreamRequest, explanation_service_pb2.ExplainStreamResponse
]
ModelCache: TypeAlias = dict[tuple[bytes, str], ModelInfo]


def predict(
    cache: ModelCache,
    model: str,
    inputs: Inputs,
    *,
    version: str | None,
    alias: str | None,
    top_k: int,
    timeout: float | None,
    request_id: str | None,
) -> Exchange[PredictResult]:
    """Predict."""
    inputs = yield from _read_files(cache, model_ref(model, version, alias), inputs)
    request = predict_request(model, inputs, version=version, alias=alias, top_k=top_k)
    yield from _convert(cache, request.model, request.inputs)
    call: Call[explanation_service_pb2.PredictRequest, explanation_service_pb2.PredictResponse] = (
        Call(lambda stub: stub.Predict, request, timeout, request_id)
    )
    return decode_prediction((yield from _ask(call)))


def explain(
    known: ModelCache,
    model: str,
    inputs: Inputs,
    *,
    timeout: float | None,
    request_id: str | None,
    **options: Unpack[ExplainOptions],
) -> Exchange[Explanations]:
    """Explain."""
    ref = model_ref(model, options.get("version"), options.get("alias"))
    inputs = yield from _read_files(known, ref, inputs)
    request = explain_request(model, inputs, options)
    yield from _convert(known, request.model, _numbers_of(request))
    call: Call[explanation_service_pb2.ExplainRequest, explanation_service_pb2.ExplainResponse] = (
        Call(lambda stub: stub.Explain, request, timeout, request_id)
    )
    response = yield from _ask(call)
    return decode_explanations(response, (yield from _described(known, response)))


def explain_stream(
    known: ModelCache,
    model: str,
    inputs: Inputs,
    *,
    timeout: float | None,
    request_id: str | None,
    **options: Unpack[ExplainOptions],
) -> Exchange[StreamCall]:
    """Prepare the streaming call; `event` reads its responses."""
    ref = model_ref(model, options.get("version"), options.get("alias"))
    inputs = yield from _read_files(known, ref, inputs)
    explain = explain_request(model, inputs, options)
    yield from _convert(known, explain.model, _numbers_of(explain))
    request = explanation_service_pb2.ExplainStreamRequest(explain=explain)
    return Call(lambda stub: stub.ExplainStream, request, timeout, request_id)


def event(
    cache: ModelCache,
    call: StreamCall,
    response: explanation_service_pb2.ExplainStreamResponse,
) -> Exchange[Event | None]:
    """Read one event of a stream; None for a kind that this client does not know yet."""
    match response.WhichOneof("event"):
        case "final":
            model = yield from _described(cache, response.final)
        case "partial" if lacks_names(response.partial.explanations):
            # A partial result does not say which version answers; it is the one asked for.
            model = yield from _look_up(cache, call.request.explain.model)
        case _:
            model = None
    return decode_event(response, model)


def models() -> Exchange[tuple[ModelInfo, ...]]:
    """List the models."""
    call: Call[
        explanation_service_pb2.ListModelsRequest, explanation_service_pb2.ListModelsResponse
    ] = Call(lambda stub: stub.ListModels, explanation_service_pb2.ListModelsRequest())
    response = yield from _ask(call)
    return tuple(decode_model(each) for each in response.models)


def model(name: str, *, version: str | None, alias: str | None) -> Exchange[ModelInfo]:
    """Describe a model."""
    response = yield from _ask(_get_model(model_ref(name, version, alias)))
    return decode_model(response.model)


def methods(name: str | None) -> Exchange[tuple[MethodInfo, ...]]:
    """List the methods, and mark those that a model can run."""
    ref = None if name is None else model_ref(name)
    call: Call[
        explanation_service_pb2.ListMethodsRequest, explanation_service_pb2.ListMethodsResponse
    ] = Call(lambda stub: stub.ListMethods, explanation_service_pb2.ListMethodsRequest(model=ref))
    response = yield from _ask(call)
    return tuple(decode_method_info(each) for each in response.methods)


def _ask(call: Call[_Request, _Response]) -> Exchange[_Response]:
    response: _Response = yield call
    return response


def _read_files(cache: ModelCache, ref: model_pb2.ModelRef, inputs: Inputs) -> Exchange[Inputs]:
    """Read the images that a text names by its path; only the model tells them from texts."""
    if not names_files(inputs):
        return inputs
    model = yield from _look_up(cache, ref)
    return inputs if model is None else with_files(inputs, model.inputs)


def _numbers_of(request: explanation_service_pb2.ExplainRequest) -> list[tensor_pb2.Tensor]:
    """Return the tensors that have the datatypes of the model's inputs."""
    baselines = [each.tensor for each in request.baselines if each.HasField("tensor")]
    return [*request.inputs, *baselines]


def _convert(
    cache: ModelCache, ref: model_pb2.ModelRef, tensors: Iterable[tensor_pb2.Tensor]
) -> Exchange[None]:
    """Convert tensors of numpy's default datatypes to those that the model declares."""
    chosen = [tensor for tensor in tensors if has_default_datatype(tensor)]
    model = (yield from _look_up(cache, ref)) if chosen else None
    if model is not None:
        for tensor in chosen:
            convert_to_declared(tensor, model.inputs)


def _described(
    cache: ModelCache, response: explanation_service_pb2.ExplainResponse
) -> Exchange[ModelInfo | None]:
    """Return the model that answered, if the reply lacks names."""
    if not lacks_names(response.explanations):
        return None
    identity = response.model
    ref = model_pb2.ModelRef(name=identity.name, version=identity.version)
    return (yield from _look_up(cache, ref, identity.digest))


def _look_up(
    cache: ModelCache, ref: model_pb2.ModelRef, digest: str = ""
) -> Exchange[ModelInfo | None]:
    key = (ref.SerializeToString(deterministic=True), digest)
    if key not in cache:
        try:
            response = yield from _ask(_get_model(ref, _LOOK_UP_TIMEOUT_S))
        except AdcaptumError:
            # An explanation is useful without names, and sending an invalid request
            # brings the precise error.
            return None
        cache[key] = decode_model(response.model)
    return cache[key]


def _get_model(
    ref: model_pb2.ModelRef, timeout_s: float | None = None
) -> Call[explanation_service_pb2.GetModelRequest, explanation_service_pb2.GetModelResponse]:
    request = explanation_service_pb2.GetModelRequest(model=ref)
    return Call(lambda stub: stub.GetModel, request, timeout_s)
