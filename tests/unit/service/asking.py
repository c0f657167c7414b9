"""Explain requests as tests write them, and as the service reads them."""

from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict
from numpy.typing import NDArray

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, method_pb2, tensor_pb2

DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
}
SPEC = frozenset(explain_spec_pb2.ExplainSpec.DESCRIPTOR.fields_by_name)
READING = Reading(1_000_000)


def tensor(values: NDArray[Any], name: str = "") -> tensor_pb2.Tensor:
    """Writes an array as data."""
    return tensor_pb2.Tensor(
        name=name,
        datatype=DATATYPES[values.dtype.name],
        shape=values.shape,
        data=values.tobytes(),
    )


def typed(*rows: Any, **fields: Any) -> tensor_pb2.Tensor:
    """Writes rows as people type them."""
    message = tensor_pb2.Tensor(**fields)
    parsed: Any = [*rows]
    ParseDict(parsed, message.values)
    return message


def baseline(kind: str, values: tensor_pb2.Tensor) -> explain_spec_pb2.Baseline:
    """Makes a baseline of a tensor: one that is a `tensor`, or a `distribution`."""
    message = explain_spec_pb2.Baseline()
    getattr(message, kind).CopyFrom(values)
    return message


def method(name: str, **params: Any) -> method_pb2.MethodSpec:
    """Names a method with plain parameters."""
    values = {key: ParseDict(value, struct_pb2.Value()) for key, value in params.items()}
    return method_pb2.MethodSpec(name=name, params=values)


def index(*values: int) -> explain_spec_pb2.Target:
    """Chooses a target by its index."""
    return explain_spec_pb2.Target(index=explain_spec_pb2.OutputIndex(values=values))


def label(text: str) -> explain_spec_pb2.Target:
    """Chooses a target by its label."""
    return explain_spec_pb2.Target(label=text)


def every() -> explain_spec_pb2.Target:
    """Chooses all outputs as targets."""
    return explain_spec_pb2.Target(all=explain_spec_pb2.AllOutputs())


def explain(values: NDArray[Any] | tensor_pb2.Tensor, **fields: Any) -> pb.ExplainRequest:
    """Asks why.

    Args:
        values: The one input.
        fields: Fields of the spec, and of the request.
    """
    own = {name: fields.pop(name) for name in SPEC & fields.keys()}
    given = values if isinstance(values, tensor_pb2.Tensor) else tensor(values)
    request = pb.ExplainRequest(inputs=[given], **fields)
    if own:
        request.spec.CopyFrom(explain_spec_pb2.ExplainSpec(**own))
    return request


def read(
    request: pb.ExplainRequest, model: ServedModel, reading: Reading = READING
) -> ParsedRequest:
    """Reads a request as the service does."""
    return parsed_request.read(request, model, ResolvedQuestions().of(request, model), reading)
