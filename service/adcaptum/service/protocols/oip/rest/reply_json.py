"""A message of the protocol with an answer -> JSON, with binary tensors behind it."""

import json
from typing import Any

import numpy as np

from adcaptum.service.protocols.oip.wire.messages import InferReplyMessage
from adcaptum.service.protocols.protojson import lists, writer
from adcaptum.service.wire import list_writer


def written(raw: bytes, binary: frozenset[str] | None) -> tuple[bytes, int]:
    """Writes an answer.

    Args:
        raw: The message.
        binary: The outputs that come as bytes; None: all.

    Returns:
        The body, and the bytes of JSON before those of binary tensors.
    """
    reply = InferReplyMessage.FromString(raw)
    facts = [f'"model_name":{_text(reply.model_name)}']
    if reply.model_version:
        facts.append(f'"model_version":{_text(reply.model_version)}')
    if reply.id:
        facts.append(f'"id":{_text(reply.id)}')
    if reply.parameters:
        facts.append(f'"parameters":{_parameters(reply.parameters)}')
    outputs = list[str]()
    tail = list[bytes]()
    for output, data in zip(reply.outputs, reply.raw_output_contents, strict=True):
        shape = ",".join(map(str, output.shape))
        own = [
            f'"name":{_text(output.name)}',
            f'"datatype":{_text(output.datatype)}',
            f'"shape":[{shape}]',
        ]
        elements = None
        if binary is not None and output.name not in binary:
            elements = _elements(output.datatype, data)
        if elements is None:
            own.append(f'"parameters":{{"binary_data_size":{len(data)}}}')
            tail.append(data)
        else:
            own.append(f'"data":{elements}')
        outputs.append(f"{{{','.join(own)}}}")
    head = f'{{{",".join(facts)},"outputs":[{",".join(outputs)}]}}'.encode()
    return b"".join([head, *tail]), len(head)


def _elements(datatype: str, data: bytes) -> str | None:
    """Returns the elements of an output as a flat list; None where JSON has no form of them."""
    if datatype == "BYTES":
        return _texts(data)
    dtype = lists.DTYPES.get(datatype)
    if dtype is None:
        return None
    array = np.frombuffer(data, dtype)
    if array.dtype in list_writer.DIGITS:
        array = list_writer.shortest(array)
    return "".join(writer.nested(array))


def _texts(data: bytes) -> str | None:
    found, at = list[str](), 0
    try:
        while at < len(data):
            begin = at + 4
            at = begin + int.from_bytes(data[at:begin], "little")
            found.append(_text(data[begin:at].decode()))
    except UnicodeDecodeError:
        return None
    return f"[{','.join(found)}]"


def _parameters(parameters: Any) -> str:
    found = dict[str, Any]()
    for name in sorted(parameters):
        kind = parameters[name].WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(parameters[name], kind)
    return json.dumps(found, ensure_ascii=False)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
