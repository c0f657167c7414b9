"""Requests and answers of the Open Inference Protocol over HTTP: JSON, and tensors behind it."""

import json
import re
from typing import Any

import numpy as np
import pytest

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols.oip.rest.reply_json import written
from adcaptum.service.protocols.oip.rest.request_json import read
from adcaptum.service.protocols.oip.wire.messages import InferReplyMessage, InferRequestMessage

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def tensor(**fields: Any) -> dict[str, Any]:
    """An input with its elements, but for what is said otherwise; without what is None."""
    usual = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": ROWS.tolist()}
    return {name: value for name, value in (usual | fields).items() if value is not None}


def message(content: Any, tail: bytes = b"", header: str | None = None) -> tuple[Any, Any]:
    head = json.dumps(content).encode()
    length = header if header is not None else str(len(head)) if tail else ""
    raw, binary = read(head + tail, length, "m", "2")
    return InferRequestMessage.FromString(raw), binary


@pytest.mark.parametrize("data", [ROWS.tolist(), ROWS.ravel().tolist()])
def test_lists_may_be_nested_or_flat(data: list[Any]) -> None:
    parameters = {"timeout": 5, "priority": 1, "exact": True, "how": "so", "share": 0.5}
    made, binary = message(
        {"id": "7", "model_name": "m", "parameters": parameters, "inputs": [tensor(data=data)]}
    )
    assert (made.model_name, made.model_version, made.id) == ("m", "2", "7")
    (given,) = made.inputs
    assert (given.name, given.datatype, [*given.shape]) == ("x", "FP32", [2, 3])
    assert [*made.raw_input_contents] == [ROWS.tobytes()]
    assert set(made.parameters) == set(parameters)
    assert made.parameters["how"].string_param == "so"
    assert binary == frozenset()


def test_numbers_texts_and_booleans_become_the_datatypes_bytes() -> None:
    inputs = [
        tensor(name="ids", datatype="INT64", shape=[2], data=[1, -2]),
        tensor(name="mask", datatype="BOOL", shape=[2], data=[True, False]),
        tensor(name="text", datatype="BYTES", shape=[2], data=["é", ""]),
    ]
    made, _ = message({"inputs": inputs})
    assert [*made.raw_input_contents] == [
        np.array([1, -2], np.int64).tobytes(),
        b"\x01\x00",
        b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00",
    ]


def test_tensors_may_stand_behind_the_json() -> None:
    behind = tensor(data=None, parameters={"binary_data_size": 24, "hint": "h"})
    second = tensor(name="y", shape=[1], data=[3.0])
    made, _ = message({"inputs": [behind, second]}, ROWS.tobytes())
    assert [*made.raw_input_contents] == [ROWS.tobytes(), np.float32(3).tobytes()]
    assert set(made.inputs[0].parameters) == {"hint"}


def test_outputs_say_how_they_come() -> None:
    content: dict[str, Any] = {"inputs": [tensor()]}
    outputs = [
        {"name": "a", "parameters": {"binary_data": True, "top": 3}},
        {"name": "b", "parameters": {"binary_data": False}},
        {"name": "c"},
    ]
    made, binary = message({**content, "outputs": outputs})
    assert [each.name for each in made.outputs] == ["a", "b", "c"]
    assert set(made.outputs[0].parameters) == {"top"}
    assert binary == {"a"}
    everything = {"parameters": {"binary_data_output": True}}
    assert message({**content, **everything, "outputs": outputs})[1] == {"a", "c"}
    made, binary = message({**content, **everything})
    assert binary is None
    assert not made.parameters


@pytest.mark.parametrize(
    ("content", "field", "text"),
    [
        ([], "request", "must be an object"),
        ({"inputs": [tensor()], "more": 1}, "request", "'more' is unknown"),
        ({"inputs": [tensor()], "model_name": "n"}, "model_name", "the path names 'm'"),
        ({"inputs": {}}, "inputs", "must be a list"),
        ({"inputs": [3]}, "inputs[0]", "must be an object"),
        ({"inputs": [tensor()], "id": 3}, "id", "must be a text"),
        ({"inputs": [tensor()], "parameters": []}, "parameters", "must be an object"),
        ({"inputs": [tensor(name=3)]}, "inputs[0].name", "must be a text"),
        ({"inputs": [tensor(shape=3)]}, "inputs[0].shape", "must be a list"),
        ({"inputs": [tensor(shape=[2, -3])]}, "inputs[0].shape[1]", "must be a length"),
        ({"inputs": [tensor(shape=[True, 3])]}, "inputs[0].shape[0]", "must be a length"),
        ({"inputs": [tensor(data=None)]}, "inputs[0].data", "must be a list"),
        ({"inputs": [tensor(data=["a"])]}, "inputs[0].data", "must be numbers or booleans"),
        ({"inputs": [tensor(datatype="FP9")]}, "inputs[0].data", "has no form in JSON"),
        ({"inputs": [tensor(datatype="BYTES")]}, "inputs[0].data[0]", "must be a text"),
        ({"inputs": [tensor()], "outputs": [{"names": 1}]}, "outputs[0]", "is unknown"),
        (
            {"inputs": [tensor(parameters={"binary_data_size": 4})]},
            "inputs[0].data",
            "only one of them",
        ),
        (
            {"inputs": [tensor(data=None, parameters={"binary_data_size": 4})]},
            "inputs[0].parameters.binary_data_size",
            "the bytes that are left, 0",
        ),
    ],
)
def test_what_is_wrong_is_named(content: Any, field: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(text)) as caught:
        message(content)
    (violation,) = caught.value.violations
    assert violation.field == field


@pytest.mark.parametrize("header", ["-1", "x", "9999", "1234567890123"])
def test_the_length_of_the_json_is_at_most_the_bodys(header: str) -> None:
    with pytest.raises(InvalidRequest, match="at most the length of the body"):
        message({"inputs": [tensor()]}, header=header)


def test_bytes_that_no_input_names_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="4 bytes more than the inputs say"):
        message({"inputs": [tensor()]}, b"more")


def reply() -> Any:
    made = InferReplyMessage(model_name="m", model_version="1", id="é")
    made.parameters["final"].bool_param = True
    for name, datatype, shape, data in (
        ("rows", "FP32", [2, 3], ROWS.tobytes()),
        ("labels", "BYTES", [2], b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xa9"),
        ("raw", "BYTES", [1], b"\x01\x00\x00\x00\xff"),
        ("half", "BF16", [1], b"\x80\x3f"),
    ):
        made.outputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_output_contents.append(data)
    return made


def test_answers_are_lists_where_json_has_a_form_of_them() -> None:
    body, length = written(reply().SerializeToString(), frozenset())
    found = json.loads(body[:length])
    outputs = {each["name"]: each for each in found.pop("outputs")}
    assert found == {
        "model_name": "m", "model_version": "1", "id": "é", "parameters": {"final": True},
    }  # fmt: skip
    assert outputs["rows"] == {
        "name": "rows", "datatype": "FP32", "shape": [2, 3], "data": ROWS.ravel().tolist(),
    }  # fmt: skip
    assert outputs["labels"]["data"] == ["a", "é"]
    assert [outputs[name]["parameters"] for name in ("raw", "half")] == [
        {"binary_data_size": 5},
        {"binary_data_size": 2},
    ]
    assert body[length:] == b"\x01\x00\x00\x00\xff\x80\x3f"


@pytest.mark.parametrize("binary", [None, frozenset({"rows"})])
def test_answers_come_as_bytes_where_that_is_asked(binary: frozenset[str] | None) -> None:
    body, length = written(reply().SerializeToString(), binary)
    outputs = {each["name"]: each for each in json.loads(body[:length])["outputs"]}
    assert outputs["rows"]["parameters"] == {"binary_data_size": 24}
    assert ("data" in outputs["labels"]) == (binary is not None)
    assert body[length : length + 24] == ROWS.tobytes()
