"""Calls of the Open Inference Protocol, with the protocol's own messages."""

import queue
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from adcaptum.service.protocols.oip.wire.messages import SERVICE, message
from adcaptum.service.wire import tensors

Parameter = bool | int | float | str
DTYPES = {
    "BOOL": "?", "UINT8": "u1", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4",
    "FP64": "<f8",
}  # fmt: skip
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
INPUTS = {"cells": "measurements", "digits": "pixels"}


class OipClient:
    """A client that knows nothing of this server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, rpc: str, timeout: float = 60, **fields: Any) -> Any:
        """Calls a method that answers once."""
        return self.send(rpc, message(f"{rpc}Request")(**fields), timeout=timeout)

    def send(self, rpc: str, request: Any, timeout: float = 60, **options: Any) -> Any:
        """Sends a message, or bytes."""
        raw = _serialised(request)
        read = message(f"{rpc}Response").FromString
        method: Callable[..., Any] = self._channel.unary_unary(f"/{SERVICE}/{rpc}", None, read)
        return method(raw, timeout=timeout, **options)

    def infer(self, request: Any, timeout: float = 60, **options: Any) -> Any:
        """Asks once."""
        return self.send("ModelInfer", request, timeout, **options)

    def stream(self, *requests: Any, timeout: float = 60) -> list[Any]:
        """Asks in one stream; returns all replies."""
        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            _serialised,
            message("ModelStreamInferResponse").FromString,
        )
        return list(method(iter(requests), timeout=timeout))

    def begin(self, rpc: str, request: Any) -> Any:
        """Sends a request; returns the call."""
        raw = _serialised(request)
        if rpc == "ModelStreamInfer":
            method: Any = self._channel.stream_stream(f"/{SERVICE}/{rpc}")
            return method(iter([raw]), timeout=60)
        method = self._channel.unary_unary(f"/{SERVICE}/{rpc}")
        return method.future(raw, timeout=60)

    def open(self) -> tuple["queue.SimpleQueue[Any]", Any]:
        """Opens a stream; returns where to put requests, None at the end, and its replies."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        method: Any = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            _serialised,
            message("ModelStreamInferResponse").FromString,
        )
        return requests, method(iter(requests.get, None), timeout=60)


def _serialised(request: Any) -> bytes:
    return bytes(request if isinstance(request, bytes) else request.SerializeToString())


def infer_request(
    model: str,
    values: NDArray[Any],
    name: str = "",
    *,
    outputs: Sequence[str] = (),
    typed: bool = False,
    parameters: dict[str, Parameter] | None = None,
    **fields: Any,
) -> Any:
    """Writes a request.

    Args:
        model: The model or virtual model.
        values: Its only input.
        name: The name of the input; that of the bundled model if it is empty.
        outputs: The outputs that are asked for.
        typed: Whether the elements are typed instead of raw.
        parameters: The options.
        fields: Other fields of the request.
    """
    request = message("ModelInferRequest")(model_name=model, **fields)
    datatype = "BYTES" if values.dtype == object else NAMES[values.dtype]
    own = request.inputs.add(
        name=name or INPUTS[model.partition(":")[0]], datatype=datatype, shape=values.shape
    )
    if typed:
        kind = {"FP32": "fp32", "FP64": "fp64", "INT64": "int64", "UINT8": "uint", "BYTES": "bytes"}
        getattr(own.contents, f"{kind[datatype]}_contents").extend(values.flatten().tolist())
    elif datatype == "BYTES":
        items = [len(each).to_bytes(4, "little") + each for each in values.flatten()]
        request.raw_input_contents.append(b"".join(items))
    else:
        request.raw_input_contents.append(values.tobytes())
    for each in outputs:
        request.outputs.add(name=each)
    for key, value in (parameters or {}).items():
        set_parameter(request.parameters[key], value)
    return request


def set_parameter(into: Any, value: Parameter) -> None:
    """Sets a parameter as clients do: by the type of its value in Python."""
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    setattr(into, kinds[type(value)], value)


def arrays(reply: Any) -> dict[str, NDArray[Any]]:
    """Reads all outputs of a reply."""
    assert len(reply.outputs) == len(reply.raw_output_contents)
    found = {}
    for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True):
        shape = tuple(output.shape)
        if output.datatype == "BYTES":
            texts = [each.decode() for each in tensors.split(raw)]
            found[output.name] = np.array(texts, object).reshape(shape)
        else:
            found[output.name] = np.frombuffer(raw, DTYPES[output.datatype]).reshape(shape)
    return found


def parameters(reply: Any) -> dict[str, Parameter]:
    """Reads all parameters of a reply."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in reply.parameters.items()
    }
