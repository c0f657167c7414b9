"""Tensors as people type them."""

import base64
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.struct_pb2 import ListValue
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.wire import base64_text, tensors, typed_values
from adcaptum.service.wire.base64_text import from_base64
from adcaptum.service.wire.tensors import Bytes
from adcaptum.service.wire.typed_values import MOST_NUMBERS
from tests.unit.service.asking import typed

REGULAR = arrays.arrays(
    np.float64,
    arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=12),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)


def refused(*rows: Any, datatype: str = "FP32", **fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        tensors.decode(typed(*rows, **fields), "inputs[0]", datatype=datatype)
    return caught.value.violations[0].field, caught.value.violations[0].description


def decoded(*rows: Any, datatype: str = "FP32", **fields: Any) -> Any:
    found = tensors.decode(typed(*rows, **fields), "inputs[0]", datatype=datatype)
    assert isinstance(found, torch.Tensor)
    return found


@given(REGULAR)
@settings(deadline=None)
def test_numbers_come_back_as_they_were(values: Any) -> None:
    found = typed_values.read(typed(*values.tolist()).values, "x")
    assert found.shape == values.shape
    assert found.numbers.tobytes() == values.tobytes()


@pytest.mark.parametrize("shape", [(1, 3072), (1, 3, 32, 32), (64, 30), (2, 1), (65_536,)])
def test_many_numbers_have_the_shape_of_their_lists(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    found = decoded(*values.tolist(), datatype="FP64")
    assert found.dtype == torch.float64
    assert torch.equal(found, torch.from_numpy(values))


@given(
    st.recursive(
        st.lists(st.one_of(st.floats(), st.booleans(), st.text(max_size=9), st.none())),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=40,
    ),
    st.integers(1, 30),
)
@settings(deadline=None)
def test_any_lists_are_read_or_refused(rows: Any, times: int) -> None:
    message = typed(*rows * times)
    with suppress(InvalidRequest):
        found = typed_values.read(message.values, "x")
        assert found.count == np.prod(found.shape)


@given(st.binary(max_size=300), st.integers(0, 60))
@settings(deadline=None)
def test_any_elements_are_read_as_by_walking(content: bytes, times: int) -> None:
    number = b"\x0a\x09\x11" + struct.pack("<d", 1.5)
    message = ListValue()
    with suppress(Exception):
        message.ParseFromString(number * times + content)
    # Fields that are not known are refused, which the walk alone does not.
    message.DiscardUnknownFields()
    walked: Any = None
    with suppress(InvalidRequest):
        walk = typed_values._Walk()
        walked = (walk.enter(message, "x", 1), walk.elements)
    if walked is None:
        with pytest.raises(InvalidRequest):
            typed_values.read(message, "x")
    else:
        found = typed_values.read(message, "x")
        elements = [*found.numbers] or [*found.flags] or [*found.texts]
        assert (found.shape, elements) == walked


@pytest.mark.parametrize(
    ("rows", "path", "what"),
    [
        ((), "", "an empty list"),
        (([],), "[0]", "an empty list"),
        (([1, 2], [3]), "[1]", "of length"),
        (([[1], [2]], [[3]]), "[1]", "of shape"),
        (([1, 2], 3), "[1]", "number beside lists"),
        (([1, "a"],), "[0][1]", "a text; the first element is a number"),
        (([1, True],), "[0][1]", "a boolean"),
        (([1, None],), "[0][1]", "null"),
        (([{}],), "[0][0]", "object"),
        (([1, [2]],), "[0][1]", "list"),
    ],
    ids=str,
)
def test_lists_that_are_no_tensor_are_refused_with_the_place(
    rows: tuple[Any, ...], path: str, what: str
) -> None:
    field, description = refused(*rows)
    assert field == f"inputs[0].values{path}"
    assert what in description


def test_more_numbers_than_allowed_are_refused() -> None:
    for rows in ([[0.5] * 64] * 1025, [[True] * 64] * 1025, ["a"] * (MOST_NUMBERS + 1)):
        field, description = refused(*rows)
        assert field == "inputs[0].values"
        assert "65,536" in description
    assert decoded(*[[0.5] * 64] * 1024).shape == (1024, 64)


def test_lists_inside_one_another_are_bounded() -> None:
    nested: Any = [1.0] * 50
    for _ in range(20):
        nested = [nested]
    assert decoded(*nested).ndim == 21
    for _ in range(12):
        nested = [nested]
    assert "at most 32" in refused(*nested)[1]


@pytest.mark.parametrize(
    ("datatype", "rows", "expected"),
    [
        ("FP32", [0.1, 1], torch.tensor([0.1, 1.0])),
        ("FP16", [0.1, 1], torch.tensor([0.1, 1.0], dtype=torch.float16)),
        ("INT64", [-3.0, 2**53], torch.tensor([-3, 2**53])),
        ("UINT8", [0, 255], torch.tensor([0, 255], dtype=torch.uint8)),
        ("BOOL", [True, False], torch.tensor([True, False])),
    ],
)
def test_elements_have_the_declared_datatype(
    datatype: str, rows: list[Any], expected: torch.Tensor
) -> None:
    found = decoded(*rows, datatype=datatype)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_a_datatype_in_the_message_comes_before_the_declared_one() -> None:
    message = typed([1, 2], datatype="INT32")
    found = tensors.decode(message, "x", datatype="FP32")
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.int32
    message.datatype = "FP31"
    with pytest.raises(InvalidRequest, match="Did you mean") as caught:
        tensors.decode(message, "x", datatype="FP32")
    assert caught.value.violations[0].field == "x.datatype"


@pytest.mark.parametrize(
    ("datatype", "wrong"),
    [
        ("FP32", 1e39),
        ("FP16", 1e5),
        ("INT64", 0.5),
        ("INT64", 2.0**63),
        ("UINT8", 256),
        ("UINT8", -1),
        ("INT32", 2**31),
    ],
)
def test_a_number_that_the_datatype_has_not_is_refused(datatype: str, wrong: float) -> None:
    field, description = refused(0, 1, wrong, datatype=datatype)
    assert field == "inputs[0].values"
    assert f"at element 2 is no {datatype}" in description


def test_numbers_are_finite() -> None:
    message = typed(1.0)
    message.values.values.add().number_value = float("nan")
    with pytest.raises(InvalidRequest, match="nan at element 1; must be finite"):
        tensors.decode(message, "x", datatype="FP32")
    assert refused(1.0, "NaN")[0] == "inputs[0].values[1]"


@pytest.mark.parametrize(
    ("datatype", "rows", "what"),
    [
        ("BOOL", [1, 0], "must be true or false"),
        ("FP32", [True], "booleans"),
        ("BYTES", [1], "must be texts"),
        ("BYTES", [True], "must be texts"),
    ],
)
def test_elements_of_another_kind_than_the_datatype_are_refused(
    datatype: str, rows: list[Any], what: str
) -> None:
    assert what in refused(*rows, datatype=datatype)[1]


def test_texts_are_bytes_of_utf_8() -> None:
    found = tensors.decode(typed("a", "ü"), "x", datatype="FP32")
    assert found == Bytes((b"a", b"\xc3\xbc"), (2,))
    with pytest.raises(InvalidRequest, match="texts; the datatype is FP32"):
        tensors.decode(typed("a", datatype="FP32"), "x")


def test_images_are_texts_in_base64() -> None:
    data = bytes(range(200))
    plain = base64.b64encode(data).decode()
    lines = "\n".join(plain[start : start + 76] for start in range(0, len(plain), 76))
    for text in (plain, lines + "\n"):
        assert tensors.decode(typed(text), "x", encoded=True) == Bytes((data,), (1,))
    with pytest.raises(InvalidRequest, match="is not base64") as caught:
        tensors.decode(typed(plain, "nope!"), "x", encoded=True)
    assert caught.value.violations[0].field == "x.values[1]"


@pytest.mark.parametrize("size", [0, 1, 3, 100, 1999])
def test_long_texts_in_base64_are_decoded_in_pieces(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(number % 251 for number in range(size))
    plain = base64.b64encode(data).decode()
    lines = "\n".join(plain[start : start + 9] for start in range(0, len(plain), 9))
    for characters in (1, 7, 8, 64, 1 << 19):
        monkeypatch.setattr(base64_text, "BASE64_CHARACTERS", characters)
        assert from_base64(plain) == from_base64(lines) == data
        wrong = ["=", f"{plain}A", f"{plain}\xe9", f"{plain}-AAA"]
        if plain.endswith("="):
            wrong += [f"{plain}AAAA", plain[:-1]]
        assert [from_base64(text) for text in wrong] == [None] * len(wrong)


def test_a_text_in_base64_takes_no_more_memory_than_its_size() -> None:
    text = "AB " * (10 << 20)  # once, a list of ten million texts
    tracemalloc.start()
    try:
        found = from_base64(text)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
    finally:
        tracemalloc.stop()
    assert found is not None
    assert len(found) == (10 << 20) * 2 * 3 // 4


@pytest.mark.parametrize("numbers", [3, 1000])
def test_an_unknown_field_in_an_element_is_refused(numbers: int) -> None:
    message = typed(*range(numbers))
    message.values.values[2].MergeFromString(bytes([0x98, 0x06, 0x01]))
    with pytest.raises(InvalidRequest, match="is not known") as caught:
        tensors.decode(message, "inputs[0]", datatype="FP32")
    assert caught.value.reason is Reason.FIELD_UNKNOWN
    assert caught.value.violations[0].field == "inputs[0].values"


def test_a_shape_may_stand_beside_the_values() -> None:
    for rows in ([[1, 2, 3], [4, 5, 6]], [1, 2, 3, 4, 5, 6]):
        assert decoded(*rows, shape=[2, 3]).tolist() == [[1, 2, 3], [4, 5, 6]]
    field, description = refused([1, 2, 3], [4, 5, 6], shape=[3, 2])
    assert field == "inputs[0].shape"
    assert "the values are of shape [2, 3]" in description
    assert refused([1, 2, 3], shape=[-1, 3])[0] == "inputs[0].shape"


def test_a_tensor_has_data_or_values() -> None:
    message = typed(1)
    message.ClearField("values")
    with pytest.raises(InvalidRequest, match="must have data or values") as caught:
        tensors.decode(message, "inputs[0]")
    assert caught.value.violations[0].field == "inputs[0]"
