"""Requests of the protocol -> our own requests, serialised."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols.oip import options
from adcaptum.service.protocols.oip.descriptions import Descriptions
from adcaptum.service.protocols.oip.values.infer_request import InferRequest
from adcaptum.service.protocols.oip.values.model_names import ModelName, parsed, reference
from adcaptum.service.protocols.oip.values.output_names import PREDICTION
from adcaptum.service.protocols.oip.values.tensor import OipTensor
from adcaptum.service.rpc.local.calls import Envelope
from adcaptum.service.wire.field_writer import begin
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, tensor_pb2

MODEL: Final = pb.PredictRequest.MODEL_FIELD_NUMBER
INPUTS: Final = pb.PredictRequest.INPUTS_FIELD_NUMBER
DATA: Final = tensor_pb2.Tensor.DATA_FIELD_NUMBER
WRAPPED: Final = pb.ExplainStreamRequest.EXPLAIN_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Question:
    """A request in our own form.

    Attributes:
        name: Its model, and what explains it.
        raw: The request, serialised.
        timeout: The seconds within which it is due; None for no limit.
    """

    name: ModelName
    raw: bytes
    timeout: float | None


class Questions:
    """Translates requests."""

    def __init__(self, descriptions: Descriptions) -> None:
        """Prepares it.

        Args:
            descriptions: What is known of models and methods.
        """
        self._descriptions = descriptions

    async def of(self, request: InferRequest, envelope: Envelope, *, streamed: bool) -> Question:
        """Translates a request.

        Args:
            request: The request.
            envelope: What comes with it.
            streamed: Whether an explanation is asked for as a stream.

        Raises:
            InvalidRequest: An option is wrong.
            CallFailed: The model has to be known, and is not.
        """
        name = named(request)
        model = reference(name.model, request.model_version)
        if not name.explained_by:
            timeout = options.prediction_timeout(request.parameters)
            raw = _joined([*_delimited(MODEL, model), *_inputs(request.inputs)])
            return Question(name, raw, timeout)
        asked = options.explanation(request.parameters)
        own = asked.request
        is_method = name.explained_by in await self._descriptions.methods(envelope)
        if is_method:
            own.spec.methods.add(name=name.explained_by)
        else:
            own.preset = name.explained_by
        wants_outputs = any(each.startswith(PREDICTION) for each in request.outputs)
        parts = asked.parts | ({"output"} if wants_outputs else set())
        if parts or (asked.method_parameters and not is_method):
            preset = await self._descriptions.preset(model, own.preset, envelope)
            _complete(own.spec, preset, parts)
            if not own.spec.methods and asked.method_parameters:
                own.spec.methods.extend(preset.methods)
        if wants_outputs:
            own.spec.output.return_outputs = True
        _set_parameters(own.spec, asked)
        parts_of_it = [*_delimited(MODEL, model), *_inputs(request.inputs), own.SerializeToString()]
        if streamed:
            parts_of_it.insert(0, begin(WRAPPED, sum(map(len, parts_of_it))))
        return Question(name, _joined(parts_of_it), asked.timeout)


def named(request: InferRequest) -> ModelName:
    """Returns the model of a request, and what explains it: by its name or by an option.

    Raises:
        InvalidRequest: Both say so, or the option is no name.
    """
    name = parsed(request.model_name)
    explained_by = request.parameters.get(options.EXPLAIN)
    if explained_by is None:
        return name
    if not isinstance(explained_by, str) or not explained_by:
        raise InvalidRequest(
            f"parameters.{options.EXPLAIN}", "must be the name of a method or a preset"
        )
    if name.explained_by:
        raise InvalidRequest(
            f"parameters.{options.EXPLAIN}", "beside a model_name that explains; must be absent"
        )
    return ModelName(name.model, explained_by)


def _complete(
    spec: explain_spec_pb2.ExplainSpec,
    preset: explain_spec_pb2.ExplainSpec,
    parts: Collection[str],
) -> None:
    """Gives parts in which options set single values the other values of the preset."""
    for part in parts:
        own = getattr(spec, part)
        merged = type(own)()
        merged.CopyFrom(getattr(preset, part))
        merged.MergeFrom(own)
        own.CopyFrom(merged)


def _set_parameters(spec: explain_spec_pb2.ExplainSpec, asked: options.Asked) -> None:
    if not asked.method_parameters:
        return
    if len(spec.methods) != 1:
        name = next(iter(asked.method_parameters))
        raise options.unknown(name, (*options.ALWAYS, *options.EXPLANATIONS))
    for name, value in asked.method_parameters.items():
        spec.methods[0].params[name].CopyFrom(value)


def _inputs(inputs: Sequence[OipTensor]) -> list[bytes | memoryview]:
    """Returns the parts of the field with inputs; their elements are not copied."""
    parts: list[bytes | memoryview] = []
    for each in inputs:
        head = tensor_pb2.Tensor(
            name=each.name, datatype=each.datatype, shape=each.shape
        ).SerializeToString()
        data = begin(DATA, len(each.data))
        size = len(head) + len(data) + len(each.data)
        parts += (begin(INPUTS, size), head, data, each.data)
    return parts


def _delimited(field: int, message: Message) -> tuple[bytes, bytes]:
    raw = message.SerializeToString()
    return begin(field, len(raw)), raw


def _joined(parts: Sequence[bytes | memoryview]) -> bytes:
    return b"".join(parts)
