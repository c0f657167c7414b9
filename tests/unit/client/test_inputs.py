"""The ways to write an input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adcaptum.client import InvalidRequest
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.client.codec.inputs import Inputs, as_declared, depends_on_model, write_inputs
from adcaptum.client.codec.tensors import decode_tensor
from adcaptum.client.results.model_info import InputInfo, InputKind
from adcaptum.v1 import explanation_service_pb2, tensor_pb2
from tests.unit.client import canned


def encode_inputs(inputs: Inputs) -> list[tensor_pb2.Tensor]:
    request = explanation_service_pb2.PredictRequest()
    write_inputs(request.inputs, inputs)
    return list(request.inputs)


def test_an_array_needs_no_name() -> None:
    (tensor,) = encode_inputs(np.zeros((2, 3), np.float32))
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("", "FP32", [2, 3])


def test_several_inputs_are_named() -> None:
    tensors = encode_inputs({"a": np.zeros(1), "b": ["x"]})
    assert [tensor.name for tensor in tensors] == ["a", "b"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [("one", [b"one"]), (["one", "two"], [b"one", b"two"]), (b"png", [b"png"])],
    ids=["text", "texts", "bytes"],
)
def test_texts_and_bytes_are_a_batch(inputs: Inputs, expected: list[bytes]) -> None:
    (tensor,) = encode_inputs(inputs)
    assert decode_tensor(tensor).tolist() == expected


def test_a_path_stands_for_the_bytes_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"\x89PNG")
    (tensor,) = encode_inputs([path, b"other"])
    assert decode_tensor(tensor).tolist() == [b"\x89PNG", b"other"]


def test_lists_of_numbers_are_arrays() -> None:
    (tensor,) = encode_inputs([[1.5, 2], [3, 4]])
    np.testing.assert_array_equal(decode_tensor(tensor), [[1.5, 2], [3, 4]])


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="rectangular"):
        encode_inputs([[1.0], [2.0, 3.0]])


def test_no_input_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one"):
        encode_inputs({})


def image_input() -> InputInfo:
    (described, *_) = decode_model(canned.model()).default.inputs
    return replace(described, name="picture", kind=InputKind.IMAGE, shape=(-1, 3, 4, 4))


def test_the_path_of_an_image_may_be_a_text(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"\x89PNG")
    for written in (str(path), [str(path)], {"picture": str(path)}):
        assert depends_on_model(written)
        (tensor,) = encode_inputs(as_declared(written, [image_input()]))
        assert decode_tensor(tensor).tolist() == [b"\x89PNG"]


def test_a_text_that_happens_to_name_a_file_stays_a_text_for_other_models(tmp_path: Path) -> None:
    path = tmp_path / "review"
    path.write_text("Good.")
    text = replace(image_input(), kind=InputKind.TEXT)
    (tensor,) = encode_inputs(as_declared(str(path), [text]))
    assert decode_tensor(tensor).tolist() == [str(path).encode()]


@pytest.mark.parametrize("text", ["A gripping film.", "no\0file", "x" * 100_000, ""])
def test_other_texts_name_no_file(text: str) -> None:
    assert not depends_on_model(text)
