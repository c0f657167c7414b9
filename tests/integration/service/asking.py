"""Requests as tests write them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
import numpy as np
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from numpy.typing import NDArray

from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64",
}  # fmt: skip
SPEC_FIELDS = frozenset(spec_pb2.ExplainSpec.DESCRIPTOR.fields_by_name)
BYPASS = pb.CACHE_POLICY_BYPASS

Plain: TypeAlias = "float | bool | str | Sequence[Plain] | Mapping[str, Plain]"


def tensor(values: NDArray[Any], name: str = "") -> tensor_pb2.Tensor:
    """Writes an array."""
    return tensor_pb2.Tensor(
        name=name,
        datatype=DATATYPES[values.dtype.name],
        shape=values.shape,
        data=values.tobytes(),
    )


def typed(*rows: Plain) -> tensor_pb2.Tensor:
    """Writes rows as people type them: nested lists, without a datatype or a shape."""
    message = tensor_pb2.Tensor()
    parsed: Any = list(rows)
    json_format.ParseDict(parsed, message.values)
    return message


def array(message: tensor_pb2.Tensor) -> NDArray[Any]:
    """Reads an array."""
    dtype = {wire: name for name, wire in DATATYPES.items()}[message.datatype]
    return np.frombuffer(message.data, dtype).reshape(list(message.shape))


def cells(rows: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Makes rows for the model `cells`."""
    return np.random.default_rng(seed).uniform(0, 20, (rows, 30)).astype(np.float32)


def digits(rows: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Makes images for the model `digits`."""
    return np.random.default_rng(seed).uniform(0, 1, (rows, 1, 8, 8)).astype(np.float32)


def method(name: str, **params: Plain) -> method_pb2.MethodSpec:
    """Names a method."""
    return method_pb2.MethodSpec(name=name, params={k: value(v) for k, v in params.items()})


def value(plain: Plain) -> struct_pb2.Value:
    """Writes a parameter."""
    parsed: Any = plain
    return json_format.ParseDict(parsed, struct_pb2.Value())


def explain(
    values: NDArray[Any],
    *methods: method_pb2.MethodSpec,
    model: str = "cells",
    target: spec_pb2.Target | None = None,
    **fields: Any,
) -> pb.ExplainRequest:
    """Asks why.

    Args:
        values: The input.
        methods: The methods; those of the model's default preset if there are none.
        model: The name of the model.
        target: The only target.
        fields: Fields of the question (ExplainSpec), and of the request.
    """
    spec = {name: fields.pop(name) for name in SPEC_FIELDS & fields.keys()}
    if methods:
        spec["methods"] = methods
    if target is not None:
        spec["targets"] = [target]
    request = pb.ExplainRequest(
        model=model_pb2.ModelRef(name=model), inputs=[tensor(values)], **fields
    )
    if spec:
        request.spec.CopyFrom(spec_pb2.ExplainSpec(**spec))
    return request


def streaming(request: pb.ExplainRequest) -> pb.ExplainStreamRequest:
    """Asks for the events of an explanation."""
    return pb.ExplainStreamRequest(explain=request)


def predict(values: NDArray[Any], model: str = "cells", **fields: Any) -> pb.PredictRequest:
    """Asks what."""
    return pb.PredictRequest(
        model=model_pb2.ModelRef(name=model), inputs=[tensor(values)], **fields
    )


def index(*values: int) -> spec_pb2.Target:
    """Chooses a target by index."""
    return spec_pb2.Target(index=spec_pb2.OutputIndex(values=values))


def neuron(layer: str, *position: int, end: Iterable[int] = ()) -> spec_pb2.Neuron:
    """Names a value of a layer, or a block of values."""
    return spec_pb2.Neuron(layer=layer, index=position, end=end)


def of_neuron(layer: str, *position: int, end: Iterable[int] = ()) -> spec_pb2.Target:
    """Explains a value of a layer, or a block of values."""
    return spec_pb2.Target(neuron=neuron(layer, *position, end=end))


def background(count: int) -> spec_pb2.Baseline:
    """Draws rows from the background set."""
    return spec_pb2.Baseline(background=spec_pb2.Background(count=count))


def mask(values: NDArray[np.int64], **fields: Any) -> spec_pb2.FeatureMask:
    """Puts elements of equal numbers into one feature."""
    return spec_pb2.FeatureMask(tensor=tensor(values), **fields)


def explanations(reply: pb.ExplainResponse) -> list[explanation_pb2.Explanation]:
    """All explanations of an answer, by method."""
    return [each for result in reply.results for each in result.explanations]


def attributions(reply: pb.ExplainResponse) -> NDArray[Any]:
    """The numbers of all explanations: of the first input, or of pairs of features."""
    return np.stack(
        [
            array(
                each.interactions.values
                if each.HasField("interactions")
                else each.attributions[0].values
            )
            for each in explanations(reply)
        ]
    )


def details(error: grpc.RpcError) -> Mapping[str, Any]:
    """Reads what an error says, by the name of the message."""
    trailing: dict[str, Any] = {each.key: each.value for each in error.trailing_metadata()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    found = {}
    for detail in status.details:
        name = detail.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return found


def reason(error: grpc.RpcError) -> str:
    """Reads the reason of an error, for programs."""
    info = details(error)["ErrorInfo"]
    assert info.domain == "adcaptum"
    return str(info.reason)
