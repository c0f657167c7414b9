"""Tensors written into messages: bytes, and lists that people read."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import json_format
from torch import Tensor

from adcaptum.service.wire import tensor_writer, tensors
from adcaptum.v1 import tensor_pb2


def written(values: Tensor, *, as_values: bool = False) -> tensor_pb2.Tensor:
    message = tensor_pb2.Tensor()
    tensor_writer.write(message, values, "x", as_values=as_values)
    return message


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(2, 3),
        torch.randn(2, 3, 4, dtype=torch.float64).transpose(0, 2),
        torch.tensor([1e-30, 3e38, 0.1, -0.0, 1 / 3]),
        torch.tensor([[1, -2]], dtype=torch.int32),
        torch.tensor([True, False]),
        torch.randn(5).half(),
        torch.randn(5).bfloat16(),
    ],
    # Random numbers in names would differ between the processes of a test run.
    ids=lambda values: f"{values.dtype} {list(values.shape)}",
)
@pytest.mark.parametrize("as_values", [False, True])
def test_what_is_written_is_read(values: Tensor, as_values: bool) -> None:
    message = written(values, as_values=as_values)
    assert message.WhichOneof("contents") == ("values" if as_values else "data")
    assert message.name == "x"
    if as_values:
        listed = json.loads(json_format.MessageToJson(message.values))
        read = torch.tensor(listed, dtype=values.dtype)
    else:
        found = tensors.decode(message, "x")
        assert isinstance(found, Tensor)
        read = found
    assert torch.equal(read, values)
    assert list(message.shape) == list(values.shape)


def listed_of(message: tensor_pb2.Tensor) -> Any:
    """Returns the values of a message as JSON has them."""
    return json_format.MessageToDict(message.values)


def test_a_number_without_dimensions_is_a_list_of_one() -> None:
    message = written(torch.tensor(3.5), as_values=True)
    assert listed_of(message) == [3.5]
    assert list(message.shape) == []
    assert written(torch.tensor(3.5)).data == np.float32(3.5).tobytes()


def test_lists_have_the_shortest_decimals() -> None:
    numbers = [0.1, -2.5, 17.99, 1e-7, 123456.79, 16777216.0, 0.0]
    message = written(torch.tensor(numbers), as_values=True)
    assert listed_of(message) == numbers
    half = written(torch.tensor([0.1, 65504.0]).half(), as_values=True)
    assert listed_of(half) == [0.1, 65500.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_shortest_decimal_reads_as_its_number(dtype: torch.dtype) -> None:
    bits = torch.randint(-(1 << 31), 1 << 31, (50_000,), dtype=torch.int64).to(torch.int32)
    values = bits.view(torch.float32) if dtype is torch.float32 else bits.short().view(dtype)
    values = values[values.isfinite()]
    listed = listed_of(written(values, as_values=True))
    assert torch.equal(torch.tensor(listed, dtype=torch.float64).to(dtype), values)


def test_numbers_that_are_not_finite_are_words() -> None:
    values = torch.tensor([[float("nan"), 1.5], [float("inf"), -float("inf")]])
    listed = listed_of(written(values, as_values=True))
    assert listed == [["NaN", 1.5], ["Infinity", "-Infinity"]]


def test_large_tensors_are_bytes() -> None:
    most = tensor_writer.MOST_LISTED
    assert written(torch.zeros(most), as_values=True).WhichOneof("contents") == "values"
    assert written(torch.zeros(most + 1), as_values=True).WhichOneof("contents") == "data"


def test_lists_may_be_empty() -> None:
    listed = listed_of(written(torch.zeros(2, 0), as_values=True))
    assert listed == [[], []]


def test_texts_have_their_length_before_them() -> None:
    message = tensor_pb2.Tensor()
    tensor_writer.write_bytes(message, [b"a", b"film"], "text")
    assert (message.name, message.datatype, list(message.shape)) == ("text", "BYTES", [2])
    assert [*tensors.split(message.data)] == [b"a", b"film"]
