"""Replies as JSON that people can read."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import json_format

from adcaptum.client.codec.protojson import MOST_VALUES, to_json
from adcaptum.client.codec.tensors import decode_tensor, encode_tensor
from adcaptum.v1 import explanation_service_pb2, tensor_pb2
from tests.unit.client import canned


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.array([[0.1, -2.5]], np.float32), [[0.1, -2.5]]),
        (np.array([0.1], np.float16), [0.1]),
        (np.array([1 / 3]), [1 / 3]),
        (np.array([1, np.nan, np.inf, -np.inf], np.float32), [1, "NaN", "Infinity", "-Infinity"]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([True, False]), [True, False]),
        (np.array(0.5), [0.5]),
        (np.zeros((2, 0), np.float32), [[], []]),
        (np.array(["a", "\u00e9"], dtype=object), ["a", "\u00e9"]),
        (np.array([b"\xff\xd8"], dtype=object), ["/9g="]),
    ],
    ids=["FP32", "FP16", "FP64", "odd", "INT64", "BOOL", "scalar", "empty", "texts", "images"],
)
def test_tensors_are_lists_with_few_digits(array: npt.NDArray[np.generic], values: object) -> None:
    tensor = encode_tensor(array, "x")
    written = to_json(tensor)
    assert written.pop("values") == values
    assert written == {
        "name": "x",
        "datatype": tensor.datatype,
        **({"shape": list(array.shape)} if array.shape else {}),
    }


def test_numbers_come_back_as_they_were() -> None:
    array = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    written = json.dumps(to_json(encode_tensor(array, "x")))
    read = decode_tensor(json_format.Parse(written, tensor_pb2.Tensor()))
    np.testing.assert_array_equal(read, array)


def test_large_tensors_stay_bytes() -> None:
    tensor = encode_tensor(np.zeros(MOST_VALUES + 1, np.uint8), "x")
    assert "data" in to_json(tensor)


def test_whole_numbers_have_no_fractions() -> None:
    written = to_json(canned.explained())
    assert json.dumps(written["results"][0]["method"]["params"]) == '{"n_steps": 50}'
    json_format.ParseDict(written, explanation_service_pb2.ExplainResponse())
