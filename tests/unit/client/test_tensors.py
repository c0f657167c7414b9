"""Arrays survive the way over the wire."""

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import json_format
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from adcaptum.client import Internal, InvalidRequest
from adcaptum.client.codec.tensors import decode_tensor, encode_tensor
from adcaptum.v1 import tensor_pb2

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
DTYPES = st.sampled_from(["?", "u1", "i1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f8"])


@given(st.data())
def test_numbers_come_back_as_they_were_sent(data: st.DataObject) -> None:
    array = data.draw(hnp.arrays(np.dtype(data.draw(DTYPES)), data.draw(SHAPES)))
    decoded = decode_tensor(encode_tensor(array, "x"))
    assert decoded.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(decoded, array)


@given(st.lists(st.text() | st.binary()))
def test_texts_and_bytes_come_back_as_bytes(values: list[str | bytes]) -> None:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    decoded = decode_tensor(encode_tensor(array))
    expected = [value.encode() if isinstance(value, str) else value for value in values]
    assert decoded.tolist() == expected


@given(hnp.arrays(np.float32, SHAPES))
def test_bfloat16_keeps_all_but_the_lowest_sixteen_bits(array: npt.NDArray[np.float32]) -> None:
    decoded = decode_tensor(encode_tensor(array, datatype="BF16"))
    assert decoded.dtype == np.float32
    assert decoded.shape == array.shape
    finite = np.isfinite(array) & np.isfinite(decoded)
    # 8 bits of precision; below the smallest normal number the steps are equal.
    np.testing.assert_allclose(decoded[finite], array[finite], rtol=2**-8, atol=2e-40)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(array))


def test_bfloat16_rounds_to_the_nearest_even_number() -> None:
    halfway = np.array([1 + 2**-8, 1 + 3 * 2**-8], np.float32)
    decoded = decode_tensor(encode_tensor(halfway, datatype="BF16"))
    np.testing.assert_array_equal(decoded, np.array([1, 1 + 4 * 2**-8], np.float32))


def test_the_bytes_are_little_endian_in_row_major_order() -> None:
    array = np.asfortranarray(np.array([[1, 2], [3, 4]], ">i2"))
    assert encode_tensor(array).data == b"\1\0\2\0\3\0\4\0"


def test_an_array_that_was_received_is_a_view_that_can_be_copied() -> None:
    decoded = decode_tensor(encode_tensor(np.zeros(3)))
    assert not decoded.flags.writeable
    copied = decoded.copy()
    copied[0] = 1
    assert copied[0] == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            {"datatype": "FP32", "shape": [2, 2], "values": [[1, 0.5], ["NaN", "-Infinity"]]},
            np.array([[1, 0.5], [np.nan, -np.inf]], np.float32),
        ),
        ({"datatype": "INT64", "shape": [2], "values": [3, -4]}, np.array([3, -4])),
        (
            {"datatype": "BOOL", "shape": [1, 2], "values": [[True, False]]},
            np.array([[True, False]]),
        ),
    ],
    ids=["reals", "whole", "booleans"],
)
def test_values_that_people_can_read_are_arrays(
    written: dict[str, object], expected: npt.NDArray[np.generic]
) -> None:
    decoded = decode_tensor(json_format.ParseDict(written, tensor_pb2.Tensor()))
    assert decoded.dtype == expected.dtype
    np.testing.assert_array_equal(decoded, expected)


def test_texts_as_values_are_bytes_as_ever() -> None:
    written = {"datatype": "BYTES", "shape": [2], "values": ["a", "\u00e9"]}
    decoded = decode_tensor(json_format.ParseDict(written, tensor_pb2.Tensor()))
    assert decoded.tolist() == [b"a", "\u00e9".encode()]


def test_an_array_of_strings_is_sent_as_bytes() -> None:
    tensor = encode_tensor(np.array(["a", "bc"]))
    assert tensor.datatype == "BYTES"
    assert tensor.data == b"\1\0\0\0a\2\0\0\0bc"


def test_a_type_that_the_protocol_lacks_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"complex64.*FP32") as caught:
        encode_tensor(np.zeros(2, np.complex64), "x")
    assert caught.value.violations[0].field == "inputs[x]"


def test_objects_that_are_neither_text_nor_bytes_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="NoneType"):
        encode_tensor(np.array([None], dtype=object))


def test_a_datatype_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="FP8"):
        encode_tensor(np.zeros(1), datatype="FP8")


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_pb2.Tensor(datatype="FP32", shape=[2], data=b"1234"),
        tensor_pb2.Tensor(datatype="FP32", shape=[1], data=b"12345"),
        tensor_pb2.Tensor(datatype="FP8", shape=[4], data=b"1234"),
        tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\5\0\0\0abc"),
        tensor_pb2.Tensor(datatype="BYTES", shape=[2], data=b"\1\0\0\0a"),
        tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\1\0\0\0a\0\0\0\0"),
        tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\1\0"),
    ],
    ids=["short", "odd", "type", "cut", "few", "many", "length"],
)
def test_a_tensor_that_cannot_be_read_is_the_servers_failure(tensor: tensor_pb2.Tensor) -> None:
    with pytest.raises(Internal, match="cannot be read"):
        decode_tensor(tensor)
