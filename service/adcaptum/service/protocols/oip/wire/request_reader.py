"""Bytes of a ModelInferRequest -> a request, bounded before anything is decoded.

The elements of raw inputs are neither decoded nor copied; everything else may be little.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import shortened
from adcaptum.service.protocols.oip.values.infer_request import InferRequest, Parameter
from adcaptum.service.protocols.oip.values.tensor import Data, OipTensor, bytes_data
from adcaptum.service.protocols.oip.wire.messages import InferRequestMessage
from adcaptum.service.wire.field_writer import DELIMITED
from adcaptum.service.wire.structure import MOST_STRUCTURE, undecodable

RAW: Final = 7
"""The field with the elements of an input."""

INPUT: Final = 5
"""The field with an input; inside it, the field with its typed elements."""

MOST_FIELDS: Final = 2048
"""The most fields of a request and of its inputs."""

MOST_TENSORS: Final = 64
"""The most inputs, and the most outputs that are asked for."""

MOST_TYPED_BYTES: Final = 1 << 20
"""The most bytes of typed elements in a request, which become objects one by one."""

MOST_TYPED: Final = 1 << 16
"""The most typed elements of an input."""

MOST_NAME: Final = 256
"""The longest name or id, in bytes, that errors repeat."""

MOST_LENGTH: Final = (1 << 31) - 1
"""The most elements of a dimension."""

TYPED: Final[Mapping[str, tuple[str, str]]] = {
    "BOOL": ("bool_contents", "?"),
    "UINT8": ("uint_contents", "u1"),
    "INT8": ("int_contents", "i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
    "BYTES": ("bytes_contents", ""),
}
"""The field and the form in memory of each datatype's typed elements; others come raw."""

FOREIGN: Final = frozenset({"UINT16", "UINT32", "UINT64"})
"""Datatypes of the protocol that no model here takes."""

REGION: Final = "shared_memory_region"

HINTS: Final = frozenset({"binary_data", "binary_data_size", "content_type"})
"""Parameters of inputs and outputs that clients send for other forms of the protocol."""

IDENTITY: Final = {1: "model_name", 3: "id"}
"""The fields by which a request is known."""


def read(raw: bytes) -> InferRequest:
    """Reads a request.

    Raises:
        InvalidRequest: It is no such message, too large beside its elements, or has inputs of no
            form of the protocol.
    """
    raws, rest = _apart(raw)
    message = InferRequestMessage()
    try:
        message.ParseFromString(rest)
    except DecodeError as error:
        raise undecodable() from error
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        text = "a field is not known to this server"
        raise InvalidRequest("request", text, reason=Reason.FIELD_UNKNOWN)
    for name, count in (("inputs", len(message.inputs)), ("outputs", len(message.outputs))):
        if count > MOST_TENSORS:
            raise InvalidRequest(
                name, f"{count} of them; at most {MOST_TENSORS}", reason=Reason.REQUEST_TOO_LARGE
            )
    return InferRequest(
        message.model_name,
        message.model_version,
        message.id,
        parameters(message.parameters),
        _inputs(message.inputs, raws),
        [_requested(each, index) for index, each in enumerate(message.outputs)],
    )


def identity(raw: bytes) -> InferRequest:
    """Returns a request with no more than its model and its id, as far as they can be read."""
    found: dict[str, str] = {}
    with suppress(IndexError, ValueError):
        for field in islice(_fields(raw, 0, len(raw)), MOST_FIELDS):
            if field.number in IDENTITY and field.kind == DELIMITED:
                text = raw[field.start : min(field.stop, field.start + MOST_NAME)]
                found[IDENTITY[field.number]] = text.decode(errors="replace")
    return InferRequest(found.get("model_name", ""), id=found.get("id", ""))


def parameters(given: Mapping[str, Any]) -> dict[str, Parameter]:
    """Returns the values of parameters.

    Raises:
        InvalidRequest: One has none.
    """
    found = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidRequest(f"parameters.{shortened(name)[1:-1]}", "without a value")
        found[name] = getattr(parameter, kind)
    return found


def _apart(raw: bytes) -> tuple[list[memoryview], bytes]:
    """Parts the elements of raw inputs from the rest of a request, which is bounded.

    Raises:
        InvalidRequest: The rest is too large, or the bytes are no message.
    """
    view = memoryview(raw)
    raws: list[memoryview] = []
    kept: list[memoryview] = []
    left, typed = MOST_FIELDS, 0
    try:
        for field in _fields(raw, 0, len(raw)):
            left -= 1
            if left < 0:
                break
            if field.number == RAW and field.kind == DELIMITED:
                raws.append(view[field.start : field.stop])
                continue
            kept.append(view[field.begin : field.stop])
            if field.number == INPUT and field.kind == DELIMITED:
                for inside in _fields(raw, field.start, field.stop):
                    left -= 1
                    if inside.number == INPUT and inside.kind == DELIMITED:
                        typed += inside.stop - inside.start
                    if left < 0:
                        break
    except (IndexError, ValueError) as error:
        raise undecodable() from error
    if left < 0:
        raise InvalidRequest(
            "request", f"of more than {MOST_FIELDS} fields", reason=Reason.REQUEST_TOO_LARGE
        )
    if typed > MOST_TYPED_BYTES:
        raise InvalidRequest(
            "inputs",
            f"{typed} bytes of contents; at most {MOST_TYPED_BYTES} are allowed, and more as "
            "raw_input_contents",
            reason=Reason.REQUEST_TOO_LARGE,
        )
    size = sum(map(len, kept)) - typed
    if size > MOST_STRUCTURE:
        raise InvalidRequest(
            "request",
            f"{size} bytes beside the elements of inputs; at most {MOST_STRUCTURE} are allowed",
            reason=Reason.REQUEST_TOO_LARGE,
        )
    return raws, b"".join(kept)


class Field(NamedTuple):
    """A field of a serialised message: its number and wire type, and the places of its bytes."""

    number: int
    kind: int
    begin: int
    start: int
    stop: int


def _fields(raw: bytes, at: int, stop: int) -> Iterator[Field]:
    """Yields the fields at at..stop.

    Raises:
        ValueError: These bytes are not fields.
        IndexError: They end too early.
    """
    while at < stop:
        begin = at
        tag, at = _varint(raw, at)
        kind, start = tag & 7, at
        if kind == 0:
            _, at = _varint(raw, at)
        elif kind == 1:
            at += 8
        elif kind == 5:  # 32 bits
            at += 4
        elif kind == DELIMITED:
            length, start = _varint(raw, at)
            at = start + length
        else:
            raise ValueError(kind)
        if at > stop:
            raise ValueError(at)
        yield Field(tag >> 3, kind, begin, start, at)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(at)


def _inputs(given: Sequence[Any], raws: Sequence[memoryview]) -> list[OipTensor]:
    if raws and len(raws) != len(given):
        raise InvalidRequest(
            "raw_input_contents",
            f"{len(raws)} of them for {len(given)} inputs; must be one for each, or none",
        )
    found = []
    for index, each in enumerate(given):
        place = f"inputs[{index}]"
        _check_parameters(each.parameters, place)
        shape = checked(each.name, each.datatype, each.shape, place)
        source = f"raw_input_contents[{index}]" if raws else f"{place}.contents"
        if not raws:
            data: Data = _typed(each, place)
        elif each.HasField("contents") and each.contents.ByteSize():
            raise InvalidRequest(f"{place}.contents", "beside raw_input_contents; must be one only")
        else:
            data = raws[index]
        found.append(OipTensor(each.name, each.datatype, shape, data, source))
    return found


def checked(name: str, datatype: str, shape: Sequence[int], place: str) -> tuple[int, ...]:
    """Checks the head of an input, as far as that needs no model; returns its shape.

    Args:
        name: Its name.
        datatype: Its datatype.
        shape: The length of each dimension.
        place: Its field in the request.

    Raises:
        InvalidRequest: It has no name, a datatype that no model takes, or a length that no tensor
            has.
    """
    if not name:
        raise InvalidRequest(f"{place}.name", "missing")
    if datatype in FOREIGN:
        allowed = ", ".join(sorted({*TYPED, "FP16", "BF16"}))
        raise InvalidRequest(
            f"{place}.datatype", f"{datatype}; no model here takes it, but {allowed}"
        )
    for length in shape:
        if not 0 <= length <= MOST_LENGTH:
            raise InvalidRequest(
                f"{place}.shape", f"a length of {length}; must be from 1 to {MOST_LENGTH}"
            )
    lengths = tuple(shape)
    # Clients of Triton give texts and encoded images a dimension of one behind the batch.
    return lengths[:1] if datatype == "BYTES" and set(lengths[1:]) == {1} else lengths


def _typed(given: Any, place: str) -> bytes:
    contents, datatype = given.contents, given.datatype
    filled = [field.name for field, _ in contents.ListFields()]
    if datatype not in TYPED:
        # An unknown datatype is told by whoever knows all of them.
        if filled:
            text = f"{datatype} has no typed elements; send raw_input_contents"
            raise InvalidRequest(f"{place}.contents", text)
        return b""
    field, form = TYPED[datatype]
    if filled != [field]:
        text = f"with {', '.join(filled) or 'nothing'}; {datatype} has {field}"
        raise InvalidRequest(f"{place}.contents", text)
    elements = getattr(contents, field)
    if len(elements) > MOST_TYPED:
        raise InvalidRequest(
            f"{place}.contents",
            f"{len(elements)} elements; at most {MOST_TYPED} are allowed, and more as "
            "raw_input_contents",
            reason=Reason.REQUEST_TOO_LARGE,
        )
    if not form:
        return bytes_data(elements)
    array = np.array(elements)
    converted = array.astype(form)
    if array.dtype.kind in "iu" and (converted != array).any():
        wrong = int((converted != array).argmax())
        raise InvalidRequest(
            f"{place}.contents", f"{array[wrong]} at element {wrong} is no {datatype}"
        )
    return converted.tobytes()


def _requested(output: Any, index: int) -> str:
    place = f"outputs[{index}]"
    _check_parameters(output.parameters, place)
    return str(output.name)


def _check_parameters(given: Mapping[str, Any], place: str) -> None:
    """Refuses parameters of inputs and outputs: none has a meaning here."""
    for name in given:
        if name in HINTS:
            continue
        field = f"{place}.parameters.{shortened(name)[1:-1]}"
        if name.startswith(REGION):
            text = "this server shares no memory with clients; send raw_input_contents"
        else:
            text = "there is no such parameter"
        raise InvalidRequest(field, text, reason=Reason.FIELD_UNKNOWN)
