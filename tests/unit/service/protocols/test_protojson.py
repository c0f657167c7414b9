"""JSON <-> messages, against protobuf's own reader and writer."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings, strategies as st

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.protocols.protojson import lists, reader, writer
from adcaptum.v1 import explanation_service_pb2 as pb, tensor_pb2

NAMES = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
SCALARS = st.none() | st.booleans() | NUMBERS | NAMES
PARAMETERS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=3)
)
VALUES = st.one_of(
    ROWS, st.lists(NAMES, max_size=3), st.lists(st.booleans(), max_size=3),
    st.lists(NUMBERS | st.lists(NUMBERS, max_size=2), max_size=4),
)  # fmt: skip
TENSORS = st.one_of(
    st.fixed_dictionaries({}, optional={"name": NAMES, "values": VALUES}),
    st.fixed_dictionaries({"datatype": NAMES, "shape": st.lists(st.integers(-5, 9), max_size=3)}),
)
METHODS = st.fixed_dictionaries(
    {"name": NAMES}, optional={"params": st.dictionaries(NAMES, PARAMETERS, max_size=3)}
)
TARGETS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"argmax": {}}), st.just({"all": {}}), NAMES.map(lambda name: {"label": name}),
    st.fixed_dictionaries({"topK": st.integers(-3, 9)}),
    st.lists(st.integers(0, 9), max_size=3).map(lambda found: {"index": {"values": found}}),
)  # fmt: skip
SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.lists(METHODS, max_size=2),
        "targets": st.lists(TARGETS, max_size=2),
        "seed": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 99).map(str),
        "deterministic": st.booleans(),
        "budget": st.fixed_dictionaries({}, optional={"max_rows": st.integers(-9, 2**31 - 1),
                                                      "tolerance": NUMBERS}),
        "output": st.fixed_dictionaries(
            {},
            optional={
                "returnInputs": st.booleans(),
                "channel_reduction": st.sampled_from(["CHANNEL_REDUCTION_SUM", 1]),
            },
        ),
        "baselines": st.lists(
            st.one_of(TENSORS.map(lambda each: {"tensor": each}),
                      NUMBERS.map(lambda each: {"constant": each}), st.just({"blur": {}})),
            max_size=2,
        ),
    },
)  # fmt: skip
REQUESTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"inputs": st.lists(TENSORS, max_size=2), "preset": NAMES, "spec": SPECS}
)


def read(content: Any) -> pb.ExplainRequest:
    message = pb.ExplainRequest()
    reader.read(message, content)
    return message


@given(content=REQUESTS)
@settings(max_examples=200, deadline=None)
def test_json_is_read_and_written_as_protobuf_does(content: dict[str, Any]) -> None:
    wanted = json_format.ParseDict(content, pb.ExplainRequest())
    got = read(json.loads(json.dumps(content)))
    assert got == wanted
    written = json.loads(writer.written(got))
    assert written == json_format.MessageToDict(wanted, preserving_proto_field_name=True)
    assert read(written) == wanted


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (7, "request: 7; must be an object"),
        ({"a": 1}, "a: there is no such field."),
        ({"spec": {"budgt": {}}}, r"spec.budgt: there is no such field. Did you mean 'budget'\?"),
        ({"spec": {"seed": True}}, "spec.seed: true; must be a whole number"),
        ({"spec": {"seed": 2**63}}, "spec.seed: 9223372036854775808; must be from"),
        ({"spec": {"seed": "1e3"}}, "spec.seed: '1e3'; must be a whole number"),
        ({"spec": {"budget": {"tolerance": "1"}}}, "spec.budget.tolerance: '1'; must be a number"),
        ({"spec": {"deterministic": 1}}, "spec.deterministic: 1; must be true or false"),
        ({"spec": {"targets": {}}}, "spec.targets: an object; must be a list"),
        ({"spec": {"targets": [{"top_k": 1, "all": {}}]}}, r"spec.targets\[0\].all: beside top_k"),
        ({"spec": {"methods": [{"params": 3}]}}, r"spec.methods\[0\].params: 3; must be an object"),
        ({"maxLabels": 1, "inputs": [], "preset": None}, "maxLabels: there is no such field"),
        ({"on_deadline": "PARTIAL"}, "on_deadline: 'PARTIAL' is unknown"),
        ({"onDeadline": 1, "on_deadline": 1}, "on_deadline: stands twice"),
        ({"cache": 9}, "cache: 9; must be one of CACHE_POLICY_UNSPECIFIED"),
        ({"preset": "\ud800"}, "preset: half of a character"),
        ({"inputs": [{"data": "a?"}]}, r"inputs\[0\].data: 'a\?'; must be base64"),
        ({"inputs": [{"data": "aaaa", "values": [1]}]}, r"inputs\[0\].values: beside data"),
        ({"inputs": [{"values": 3}]}, r"inputs\[0\].values: 3; must be a list"),
        (
            {"inputs": [{"values": [[1, {}]]}]},
            r"inputs\[0\].values\[0\]\[1\]: an object; must be a",
        ),
        ({"inputs": [{"values": [1, 10**400]}]}, r"values\[1\]: a number of more than 1024 bits"),
        ({"inputs": [{"values": [[0] * 65_537]}]}, "more than 65,536 elements; send as many"),
        ({"inputs": [{"values": [["a"] * 140_000]}]}, "more than 65,536 elements; send as many"),
        ({"spec": {"methods": [{"name": ""}] * 70_000}}, "more than 65,536 elements beside"),
        (
            {"spec": {"methods": [{"params": {"a": [0] * 70_000}}]}},
            "more than 65,536 elements beside the values of tensors",
        ),
    ],
)
def test_errors_have_the_place_and_what_is_allowed(content: Any, place: str) -> None:
    with pytest.raises(InvalidRequest, match=place):
        read(content)


def test_base64_may_be_for_urls_and_without_padding() -> None:
    for text in ("+/+/AA==", "-_-_AA", "+/+/\nAA=="):
        assert read({"inputs": [{"data": text}]}).inputs[0].data == b"\xfb\xff\xbf\x00"


def test_numbers_that_json_has_not_are_words() -> None:
    tensor = tensor_pb2.Tensor()
    for text in ("NaN", "Infinity", "-Infinity"):
        tensor.values.values.add().string_value = text
    assert json.loads(writer.written(tensor)) == {"values": ["NaN", "Infinity", "-Infinity"]}
    assert writer.number(math.nan) == '"NaN"'


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16", "INT64", "UINT8", "BOOL"])
def test_data_become_values_where_they_are_asked_for(datatype: str) -> None:
    import numpy as np

    dtype = np.dtype(lists.DTYPES[datatype])
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    tensor = tensor_pb2.Tensor(datatype=datatype, shape=[2, 3], data=array.tobytes())
    found = json.loads(writer.written(tensor, as_values=True))
    assert found == {"datatype": datatype, "shape": [2, 3], "values": array.tolist()}
    large = tensor_pb2.Tensor(datatype="UINT8", shape=[1, 65_537], data=bytes(65_537))
    assert "data" in json.loads(writer.written(large, as_values=True))
