"""The reading of a method's requests: bytes -> messages, and the names of their models."""

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from adcaptum.service.rpc import first_bytes
from adcaptum.service.rpc.messages import MessageReader

Decode = Callable[[bytes], Any]
ModelOf = Callable[[Any], str]


def reading_of(handler: "grpc.RpcMethodHandler[Any, Any]", rpc: str) -> tuple[Decode, ModelOf]:
    """Returns functions that read a method's requests, and the names of their models.

    A method without a deserialiser takes the bytes of its requests.
    """
    if handler.request_deserializer is None:
        return bytes, partial(first_bytes.model_name, streamed=rpc == "ExplainStream")
    reader = MessageReader.of(handler.request_deserializer)
    fields = reader.kind.DESCRIPTOR.fields_by_name
    if "explain" in fields:
        return reader.decode, lambda request: str(request.explain.model.name)
    if "model" in fields:
        return reader.decode, lambda request: str(request.model.name)
    return reader.decode, lambda _: ""
