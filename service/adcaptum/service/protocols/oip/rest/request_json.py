"""JSON of an inference request, with binary tensors behind it -> a message of the protocol."""

import struct
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened
from adcaptum.service.protocols.oip.wire.messages import InferRequestMessage
from adcaptum.service.protocols.oip.wire.reply_writer import set_parameter
from adcaptum.service.protocols.protojson import lists
from adcaptum.service.protocols.protojson.elements import check_text, shown
from adcaptum.service.protocols.requests import parsed

HEADER: Final = "inference-header-content-length"
"""The header with the bytes of JSON before those of binary tensors."""

BINARY: Final = "binary_data"
BINARY_SIZE: Final = "binary_data_size"
BINARY_OUTPUT: Final = "binary_data_output"
FIELDS: Final = frozenset({"id", "parameters", "inputs", "outputs", "model_name"})
INPUT_FIELDS: Final = frozenset({"name", "shape", "datatype", "parameters", "data"})
OUTPUT_FIELDS: Final = frozenset({"name", "parameters"})

MOST_NUMBERS: Final = 1 << 24
"""The most numbers of an input in JSON."""

MOST_TEXTS: Final = 1 << 16
MOST_LENGTH: Final = (1 << 31) - 1
LENGTH: Final = struct.Struct("<I")


def read(body: bytes, header: str, model: str, version: str) -> tuple[bytes, frozenset[str] | None]:
    """Reads a request.

    Args:
        body: The body.
        header: The value of `HEADER`; empty: the body is all JSON.
        model: The name of the model.
        version: Its version; empty for the default one.

    Returns:
        The message, and the outputs that are to come as bytes; None: all.

    Raises:
        InvalidRequest: It is none.
    """
    length = len(body)
    if header:
        if not header.isdecimal() or len(header) > 12 or int(header) > len(body):
            raise InvalidRequest(
                HEADER, f"{shortened(header)}; must be at most the length of the body, {len(body)}"
            )
        length = int(header)
    content = _object(parsed(body[:length]), "request", FIELDS)
    # KServe's client says the name in the body, too.
    if content.get("model_name", model) != model:
        text = f"{shown(content['model_name'])}; the path names {shortened(model)}"
        raise InvalidRequest("model_name", text)
    made = InferRequestMessage(model_name=model, model_version=version)
    if content.get("id") is not None:
        made.id = _text(content["id"], "id")
    parameters = _parameters(content, "")
    everything = parameters.pop(BINARY_OUTPUT, False) is True
    for name, value in parameters.items():
        set_parameter(made.parameters, name, value)
    tail = memoryview(body)[length:]
    for index, each in enumerate(_list(content.get("inputs"), "inputs")):
        tail = _input(made, each, f"inputs[{index}]", tail)
    if len(tail):
        raise InvalidRequest("request", f"{len(tail)} bytes more than the inputs say")
    binary = set[str]()
    for index, each in enumerate(_list(content.get("outputs") or [], "outputs")):
        place = f"outputs[{index}]"
        output = _object(each, place, OUTPUT_FIELDS)
        asked = made.outputs.add(name=_text(output.get("name"), f"{place}.name"))
        of_output = _parameters(output, place)
        if of_output.pop(BINARY, everything) is True:
            binary.add(asked.name)
        for name, value in of_output.items():
            set_parameter(asked.parameters, name, value)
    raw = bytes(made.SerializeToString())
    return raw, None if everything and not made.outputs else frozenset(binary)


def _input(made: Any, content: Any, place: str, tail: memoryview) -> memoryview:
    """Reads an input; returns the bytes that are left."""
    given = _object(content, place, INPUT_FIELDS)
    shape = _list(given.get("shape"), f"{place}.shape")
    for index, each in enumerate(shape):
        if type(each) is not int or not 0 <= each <= MOST_LENGTH:
            raise InvalidRequest(f"{place}.shape[{index}]", f"{shown(each)}; must be a length")
    own = made.inputs.add(
        name=_text(given.get("name"), f"{place}.name"),
        datatype=_text(given.get("datatype"), f"{place}.datatype"),
        shape=shape,
    )
    parameters = _parameters(given, place)
    size = parameters.pop(BINARY_SIZE, None)
    for name, value in parameters.items():
        set_parameter(own.parameters, name, value)
    if size is None:
        made.raw_input_contents.append(_data(given.get("data"), own.datatype, f"{place}.data"))
        return tail
    if "data" in given:
        raise InvalidRequest(f"{place}.data", f"beside {BINARY_SIZE}; only one of them may be set")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise InvalidRequest(
            f"{place}.parameters.{BINARY_SIZE}",
            f"{shown(size)}; must be at most the bytes that are left, {len(tail)}",
        )
    made.raw_input_contents.append(bytes(tail[:size]))
    return tail[size:]


def _data(content: Any, datatype: str, place: str) -> bytes:
    """Returns the elements of an input as bytes; lists may be flat or nested."""
    if not isinstance(content, list):
        raise InvalidRequest(place, f"{shown(content)}; must be a list")
    if datatype == "BYTES":
        return _texts(content, place)
    if datatype not in lists.DTYPES:
        # What the datatype is, the model's reader refuses or not; these have no elements in JSON.
        raise InvalidRequest(place, f"{shortened(datatype)} has no form in JSON; send it as bytes")
    flat = [int(each) if type(each) is bool else each for each in _flat(content)]
    try:
        numbers = lists.numbers_of(flat, MOST_NUMBERS)
    except lists.TooManyError as error:
        raise InvalidRequest(place, f"more than {MOST_NUMBERS:,} numbers") from error
    if numbers is None:
        raise InvalidRequest(place, "must be numbers or booleans, in lists")
    return lists.as_data(numbers, datatype, place)


def _flat(content: list[Any]) -> list[Any]:
    level = content
    for _ in range(lists.MOST_NESTED):
        if not any(type(each) is list for each in level):
            break
        level = list(chain.from_iterable(each if type(each) is list else [each] for each in level))
    return level


def _texts(content: list[Any], place: str) -> bytes:
    flat = _flat(content)
    if len(flat) > MOST_TEXTS:
        raise InvalidRequest(place, f"{len(flat):,} texts; at most {MOST_TEXTS:,}")
    parts = list[bytes]()
    for index, each in enumerate(flat):
        if not isinstance(each, str):
            raise InvalidRequest(f"{place}[{index}]", f"{shown(each)}; must be a text")
        check_text(each, f"{place}[{index}]")
        encoded = each.encode()
        parts += (LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def _object(content: Any, place: str, fields: frozenset[str]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InvalidRequest(place, f"{shown(content)}; must be an object")
    for name in content:
        if name not in fields:
            allowed = ", ".join(sorted(fields))
            raise InvalidRequest(place, f"{name[:80]!a} is unknown; there are {allowed}")
    return content


def _list(content: Any, place: str) -> list[Any]:
    if not isinstance(content, list):
        raise InvalidRequest(place, f"{shown(content)}; must be a list")
    return content


def _text(content: Any, place: str) -> str:
    if not isinstance(content, str):
        raise InvalidRequest(place, f"{shown(content)}; must be a text")
    check_text(content, place)
    return content


def _parameters(content: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Returns the parameters of a request, an input or an output."""
    place = f"{place}.parameters" if place else "parameters"
    found = content.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidRequest(place, f"{shown(found)}; must be an object")
    for name, value in found.items():
        check_text(name, place)
        inner = f"{place}.{name[:80]}"
        if isinstance(value, str):
            check_text(value, inner)
        elif isinstance(value, int) and not isinstance(value, bool):
            if not -(1 << 63) <= value < 1 << 63:
                raise InvalidRequest(inner, f"{shown(value)}; must have 64 bits")
        elif not isinstance(value, bool | float):
            raise InvalidRequest(inner, f"{shown(value)}; must be a text, a number or a boolean")
    return dict(found)
