"""Tensors on the wire."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given, strategies as st

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.wire import tensor_writer, tensors
from adcaptum.service.wire.tensors import Bytes
from adcaptum.v1 import tensor_pb2

NUMBERS = [dtype for dtype in tensors.DATATYPES.values() if dtype is not None]


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_a_tensor_comes_back_as_it_was(dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    read = tensors.decode(tensor_writer.encode(values, "x"), "x")
    assert isinstance(read, torch.Tensor)
    assert read.dtype == dtype
    assert torch.equal(read, values)


def test_a_number_without_dimensions_comes_back() -> None:
    read = tensors.decode(tensor_writer.encode(torch.tensor(3.5)), "x")
    assert isinstance(read, torch.Tensor)
    assert (read.item(), read.shape) == (3.5, torch.Size())


def test_numbers_are_little_endian() -> None:
    message = tensor_writer.encode(torch.tensor([258], dtype=torch.int32))
    assert message.data == b"\2\1\0\0"


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_bytes_come_back_as_they_were(items: list[bytes]) -> None:
    assert tensors.decode(tensor_writer.encode_bytes(items), "x") == Bytes(
        tuple(items), (len(items),)
    )


@given(
    st.binary(max_size=40),
    st.lists(st.integers(-3, 5), max_size=3),
    st.sampled_from(sorted(tensors.DATATYPES)),
)
def test_any_bytes_are_read_or_refused(data: bytes, shape: list[int], datatype: str) -> None:
    message = tensor_pb2.Tensor(datatype=datatype, shape=shape, data=data)
    with suppress(InvalidRequest):
        read = tensors.decode(message, "x")
        assert tuple(read.shape) == tuple(shape)


def test_large_finite_numbers_are_finite() -> None:
    largest = torch.finfo(torch.float32).max
    tensors.require_finite(torch.full((4,), largest), "x")


def test_the_first_number_that_is_not_finite_is_named() -> None:
    with pytest.raises(InvalidRequest, match="nan at element 2"):
        tensors.require_finite(torch.tensor([1.0, 2.0, torch.nan]), "x")


def test_a_bool_is_one_of_two_bytes() -> None:
    message = tensor_pb2.Tensor(datatype="BOOL", shape=[2], data=b"\1\2")
    with pytest.raises(InvalidRequest, match="0 or 1"):
        tensors.decode(message, "x")


def test_an_item_that_ends_beyond_the_bytes_is_refused() -> None:
    message = tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\xff\xff\xff\xffab")
    with pytest.raises(InvalidRequest, match="ends beyond"):
        tensors.decode(message, "x")


@pytest.mark.parametrize("shape", [[10**9] * 32, [10**9] * 600, [1] * 1_000_000])
def test_shapes_are_told_shortened_whatever_they_are(shape: list[int]) -> None:
    message = tensor_pb2.Tensor(datatype="FP32", shape=shape, data=b"\0" * 4)
    with pytest.raises(InvalidRequest) as caught:
        tensors.decode(message, "inputs[0]")
    assert len(str(caught.value)) < 300


def test_large_tensors_are_copied_as_they_are() -> None:
    values = torch.arange(1 << 19, dtype=torch.float32)
    message = tensor_writer.encode(values)
    read = tensors.decode(message, "inputs[0]")
    assert isinstance(read, torch.Tensor)
    torch.testing.assert_close(read, values, rtol=0, atol=0)


def test_data_without_a_datatype_lack_it() -> None:
    with pytest.raises(InvalidRequest, match=r"x\.datatype: missing; must be one of BF16, BOOL"):
        tensors.decode(tensor_pb2.Tensor(data=bytes(4), shape=[1]), "x")
