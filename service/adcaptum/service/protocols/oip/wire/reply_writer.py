"""Replies -> bytes of ModelInferResponse, whose large parts are copied once."""

from collections.abc import Mapping
from typing import Any, Final

from adcaptum.service.protocols.oip.values.infer_reply import InferReply
from adcaptum.service.protocols.oip.values.infer_request import Parameter
from adcaptum.service.protocols.oip.wire.messages import InferReplyMessage, StreamReplyMessage
from adcaptum.service.wire.field_writer import begin

RAW: Final = InferReplyMessage.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
REPLY: Final = StreamReplyMessage.INFER_RESPONSE_FIELD_NUMBER
FINAL: Final = "triton_final_response"
"""The parameter of the last reply to a request in a stream."""


def written(reply: InferReply) -> bytes:
    """Returns a reply; typed contents would not be read by some clients."""
    return b"".join(_parts(reply, reply.parameters))


def streamed(reply: InferReply) -> bytes:
    """Returns a reply in a stream, marked where it is the last one to its request."""
    parts = _parts(reply, {**reply.parameters, FINAL: reply.is_final})
    return b"".join([begin(REPLY, sum(map(len, parts))), *parts])


def failed(message: str, model_name: str, request_id: str) -> bytes:
    """Returns the error of a request in a stream, with the model and the id that it has."""
    reply = StreamReplyMessage(error_message=message)
    reply.infer_response.model_name = model_name
    reply.infer_response.id = request_id
    set_parameter(reply.infer_response.parameters, FINAL, value=True)
    return bytes(reply.SerializeToString())


def set_parameter(parameters: Any, name: str, value: Parameter) -> None:
    """Sets a parameter of a message."""
    if isinstance(value, bool):
        parameters[name].bool_param = value
    elif isinstance(value, int):
        parameters[name].int64_param = value
    elif isinstance(value, float):
        parameters[name].double_param = value
    else:
        parameters[name].string_param = value


def _parts(reply: InferReply, parameters: Mapping[str, Parameter]) -> list[Any]:
    head = InferReplyMessage(
        model_name=reply.model_name, model_version=reply.model_version, id=reply.id
    )
    for name, value in parameters.items():
        set_parameter(head.parameters, name, value)
    parts: list[Any] = []
    for output in reply.outputs:
        head.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        parts += (begin(RAW, len(output.data)), output.data)
    return [head.SerializeToString(), *parts]
