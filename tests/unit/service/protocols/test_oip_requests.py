"""Requests of the Open Inference Protocol as bytes: what is read, what is refused, and its cost."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.protocols.oip.values.infer_request import InferRequest
from adcaptum.service.protocols.oip.wire import request_reader
from adcaptum.service.protocols.oip.wire.messages import InferRequestMessage

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def request(**fields: Any) -> Any:
    """A request with one raw input."""
    message = InferRequestMessage(model_name="m", **fields)
    message.inputs.add(name="x", datatype="FP32", shape=ROWS.shape)
    message.raw_input_contents.append(ROWS.tobytes())
    return message


def read(message: Any) -> InferRequest:
    return request_reader.read(message.SerializeToString())


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        request_reader.read(raw)
    return refused.value


def test_raw_and_typed_elements_are_read_alike() -> None:
    raw = read(request(id="i", model_version="2")).inputs[0]
    typed = request()
    typed.ClearField("raw_input_contents")
    typed.inputs[0].contents.fp32_contents.extend(ROWS.flatten().tolist())
    own = read(typed).inputs[0]
    assert bytes(raw.data) == bytes(own.data) == ROWS.tobytes()
    assert raw.shape == own.shape == (2, 3)
    assert (raw.place, own.place) == ("raw_input_contents[0]", "inputs[0].contents")


@pytest.mark.parametrize(
    ("datatype", "field", "values", "form"),
    [
        ("BOOL", "bool_contents", [True, False], "?"),
        ("UINT8", "uint_contents", [0, 255], "u1"),
        ("INT8", "int_contents", [-128, 127], "i1"),
        ("INT16", "int_contents", [-5, 5], "<i2"),
        ("INT32", "int_contents", [-(2**31), 7], "<i4"),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1], "<i8"),
        ("FP64", "fp64_contents", [0.1, -2.5], "<f8"),
    ],
)
def test_typed_elements_have_the_field_of_their_datatype(
    datatype: str, field: str, values: list[Any], form: str
) -> None:
    message = InferRequestMessage(model_name="m")
    own = message.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(own.contents, field).extend(values)
    assert bytes(read(message).inputs[0].data) == np.array(values, form).tobytes()


def test_typed_elements_must_fit_their_datatype() -> None:
    message = InferRequestMessage(model_name="m")
    message.inputs.add(name="x", datatype="UINT8", shape=[2]).contents.uint_contents.extend(
        [1, 256]
    )
    assert str(refusal(message.SerializeToString())) == (
        "inputs[0].contents: 256 at element 1 is no UINT8"
    )


@pytest.mark.parametrize("shape", [[2], [2, 1], [2, 1, 1]])
def test_bytes_may_have_dimensions_of_one_behind_the_batch(shape: list[int]) -> None:
    message = InferRequestMessage(model_name="m")
    own = message.inputs.add(name="x", datatype="BYTES", shape=shape)
    own.contents.bytes_contents.extend([b"one", b"\xff"])
    found = read(message).inputs[0]
    assert found.shape == (2,)
    assert bytes(found.data) == b"\x03\0\0\0one\x01\0\0\0\xff"


def untyped(message: Any) -> Any:
    message.ClearField("raw_input_contents")
    return message.inputs[0]


def set_datatype(own: Any, datatype: str) -> Any:
    own.datatype = datatype
    return own


CHANGES: dict[str, Callable[[Any], Any]] = {
    "mixed": lambda message: message.inputs[0].contents.fp32_contents.extend([1.0] * 6),
    "negative": lambda message: message.inputs[0].shape.insert(0, -2),
    "long": lambda message: message.inputs[0].shape.append(1 << 40),
    "nameless": lambda message: message.inputs[0].ClearField("name"),
    "foreign": lambda message: set_datatype(message.inputs[0], "UINT64"),
    "lacking": lambda message: message.inputs.add(name="y", datatype="FP32", shape=[1]),
    "wrong field": lambda message: untyped(message).contents.int_contents.extend([1] * 6),
    "no form": lambda message: set_datatype(untyped(message), "FP16").contents.fp32_contents.extend(
        [1.0] * 6
    ),
    "valueless": lambda message: message.parameters["x"].SetInParent(),
    "hint": lambda message: message.inputs[0].parameters["strange"].SetInParent(),
}
BYTES: dict[str, Callable[[bytes], bytes]] = {
    "utf-8": lambda _: b"\x0a\x02\xff\xfe",
    "unknown": lambda raw: raw + b"\xf8\x01\x01",
    "kind": lambda raw: raw + b"\x38\x05",
    "cut": lambda raw: raw[:-1],
}


def changed(change: str) -> bytes:
    """A request that is wrong in one way."""
    message = request()
    if change in CHANGES:
        CHANGES[change](message)
    raw = bytes(message.SerializeToString())
    return BYTES[change](raw) if change in BYTES else raw


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("mixed", "inputs[0].contents: beside raw_input_contents; must be one only"),
        ("negative", "inputs[0].shape: a length of -2; must be from 1 to 2147483647"),
        ("long", "inputs[0].shape: a length of 1099511627776; must be from 1 to 2147483647"),
        ("nameless", "inputs[0].name: missing"),
        ("foreign", "inputs[0].datatype: UINT64; no model here takes it, but BF16, BOOL, "),
        ("lacking", "raw_input_contents: 1 of them for 2 inputs; must be one for each, or none"),
        ("wrong field", "inputs[0].contents: with int_contents; FP32 has fp32_contents"),
        ("no form", "inputs[0].contents: FP16 has no typed elements; send raw_input_contents"),
        ("valueless", "parameters.x: without a value"),
        ("hint", "inputs[0].parameters.strange: there is no such parameter"),
        ("utf-8", "request: its bytes are not a message of this method's type"),
        ("unknown", "request: a field is not known to this server"),
        ("kind", "request: a field is not known to this server"),
        ("cut", "request: its bytes are not a message of this method's type"),
    ],
)
def test_what_is_wrong_is_named(change: str, text: str) -> None:
    assert str(refusal(changed(change))).startswith(text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x3a\x00" * 1_000_000, "request: of more than 2048 fields"),
        (b"\x2a\x00" * 1_000_000, "request: of more than 2048 fields"),
        (b"\x2a\x80\x89\x7a" + b"\x18\x01" * 1_000_000, "request: of more than 2048 fields"),
        (b"\x0a\x80\x89\x7a" + b"a" * 2_000_000, "request: 2000004 bytes beside the elements"),
        (b"\x2a\x84\x89\x7a\x2a\x80\x89\x7a" + b"\x12\x01\x00\x00" * 500_000, "inputs: 2000000 by"),
    ],
    ids=["raw", "inputs", "inside an input", "a name", "typed"],
)
def test_what_is_too_much_is_refused_before_it_is_decoded(
    raw: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_numbers = Mock(wraps=request_reader._varint)
    monkeypatch.setattr(request_reader, "_varint", read_numbers)
    error = refusal(raw)
    # Tag and length of each field that is looked at; all of these have a million.
    assert read_numbers.call_count <= 2 * request_reader.MOST_FIELDS + 4
    assert str(error).startswith(text)
    assert error.reason is Reason.REQUEST_TOO_LARGE


def test_raw_elements_are_not_copied() -> None:
    message = InferRequestMessage(model_name="m")
    message.inputs.add(name="x", datatype="UINT8", shape=[1, 3_000_000])
    message.raw_input_contents.append(b"\x07" * 3_000_000)
    raw = message.SerializeToString()
    (found,) = request_reader.read(raw).inputs
    assert isinstance(found.data, memoryview)
    assert found.data.obj is raw


def test_a_request_that_cannot_be_read_is_known_by_its_model_and_id() -> None:
    raw = changed("mixed")[:-1] + b"\xff"
    assert request_reader.identity(raw).model_name == "m"
    known = request_reader.identity(request(id="mine").SerializeToString() + b"\xff\xff")
    assert (known.model_name, known.id) == ("m", "mine")
    assert request_reader.identity(b"\xff\xff") == InferRequest("")
    long = request_reader.identity(request(id="a" * 9999).SerializeToString())
    assert long.id == "a" * 256


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=4))
def test_whatever_comes_is_read_or_refused(raw: bytes, place: int, change: bytes) -> None:
    good = bytes(request(id="i").SerializeToString())
    for each in (raw, good[:place] + change + good[place + len(change) :]):
        try:
            found = request_reader.read(each)
        except InvalidRequest:
            continue
        assert all(length >= 0 for own in found.inputs for length in own.shape)
