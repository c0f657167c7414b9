"""Requests as tests write them."""

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from numpy.typing import NDArray

from adcaptum.v1 import (
    explanation_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

DATATYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64",
}  # fmt: skip


def tensor(values: NDArray[Any], name: str = "") -> tensor_pb2.Tensor:
    """Writes an array."""
    return tensor_pb2.Tensor(
        name=name,
        datatype=DATATYPES[values.dtype.name],
        shape=values.shape,
        data=values.tobytes(),
    )


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


def method(name: str, **params: float | bool | str) -> method_pb2.MethodSpec:
    """Names a method."""
    return method_pb2.MethodSpec(name=name, params={k: value(v) for k, v in params.items()})


def value(plain: float | bool | str) -> method_pb2.ParameterValue:
    """Writes a parameter."""
    if isinstance(plain, bool):
        return method_pb2.ParameterValue(flag=plain)
    if isinstance(plain, int):
        return method_pb2.ParameterValue(integer=plain)
    if isinstance(plain, float):
        return method_pb2.ParameterValue(number=plain)
    return method_pb2.ParameterValue(text=plain)


def explain(
    values: NDArray[Any],
    *methods: method_pb2.MethodSpec,
    model: str = "cells",
    **fields: Any,
) -> pb.ExplainRequest:
    """Asks why."""
    return pb.ExplainRequest(
        model=model_pb2.ModelRef(name=model), inputs=[tensor(values)], methods=methods, **fields
    )


def predict(values: NDArray[Any], model: str = "cells", **fields: Any) -> pb.PredictRequest:
    """Asks what."""
    return pb.PredictRequest(
        model=model_pb2.ModelRef(name=model), inputs=[tensor(values)], **fields
    )


def index(*values: int) -> explanation_pb2.Target:
    """Chooses a target by index."""
    return explanation_pb2.Target(indices=explanation_pb2.TargetIndices(values=values))


def details(error: grpc.RpcError) -> Mapping[str, Any]:
    """Reads what an error says, by the name of the message."""
    trailing: dict[str, Any] = {each.key: each.value for each in error.trailing_metadata()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    kinds = {
        "google.rpc.BadRequest": error_details_pb2.BadRequest,
        "google.rpc.ResourceInfo": error_details_pb2.ResourceInfo,
        "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
        "google.rpc.RequestInfo": error_details_pb2.RequestInfo,
    }
    found = {}
    for detail in status.details:
        name = detail.TypeName()
        found[name.rpartition(".")[2]] = kinds[name].FromString(detail.value)
    return found
