"""The names of models, read before requests are decoded."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, strategies as st

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.security.model_names import model_name
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2, tensor_pb2


def field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


GOOD, BAD = field(1, b"good"), field(1, b"bad")
PIECES = [
    field(1, GOOD),
    field(1, BAD),
    field(1, GOOD + BAD),
    field(1, b""),
    field(1, field(2, b"1")),
    field(2, GOOD),
    b"\x18\x05",
    b"\x0d\1\2\3\4",
    b"\x09\1\2\3\4\5\6\7\x08",
    b"\x08\x07",
    b"\x8a\x00" + b"\x06" + BAD[:0] + field(1, b"late"),
]


@given(st.lists(st.sampled_from(PIECES)))
def test_the_name_is_the_one_that_decoding_finds(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    try:
        message = pb.PredictRequest.FromString(raw)
    except DecodeError:
        return
    assert model_name(raw, (1, 1)) == message.model.name


def test_a_second_name_behind_the_first_counts() -> None:
    raw = field(1, GOOD) + field(2, b"") + field(1, BAD)
    assert pb.PredictRequest.FromString(raw).model.name == "bad"
    assert model_name(raw, (1, 1)) == "bad"
    streamed = field(1, field(1, GOOD)) + field(1, field(1, BAD))
    assert pb.ExplainStreamRequest.FromString(streamed).explain.model.name == "bad"
    assert model_name(streamed, (1, 1, 1)) == "bad"


def test_large_tensors_are_stepped_over() -> None:
    request = pb.PredictRequest(
        inputs=[tensor_pb2.Tensor(data=bytes(1 << 20))], model=model_pb2.ModelRef(name="cells")
    )
    assert model_name(request.SerializeToString(), (1, 1)) == "cells"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x0a", Reason.REQUEST_UNREADABLE),
        (b"\x0a\x05ab", Reason.REQUEST_UNREADABLE),
        (b"\x0b\x0c", Reason.REQUEST_UNREADABLE),
        (b"\xff" * 11, Reason.REQUEST_UNREADABLE),
        (b"\x02\x01x", Reason.REQUEST_UNREADABLE),
        (b"\x18\x01" * 3000, Reason.REQUEST_TOO_LARGE),
    ],
)
def test_bytes_that_are_no_message_are_refused(raw: bytes, reason: Reason) -> None:
    with pytest.raises(InvalidRequest) as refused:
        model_name(raw, (1, 1))
    assert refused.value.reason is reason
