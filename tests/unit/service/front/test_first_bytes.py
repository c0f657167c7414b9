import pytest
from hypothesis import given, strategies as st

from adcaptum.service.front.passage import Passage
from adcaptum.service.handlers.call import Call
from adcaptum.service.rpc import first_bytes
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2, tensor_pb2

MODEL = model_pb2.ModelRef(name="cells", version="1")
BIG = tensor_pb2.Tensor(datatype="FP32", shape=[1, 100_000], data=bytes(400_000))


@pytest.mark.parametrize(
    "request_",
    [
        pb.PredictRequest(model=MODEL, inputs=[BIG]),
        pb.ExplainRequest(model=MODEL, inputs=[BIG], preset="quick"),
        pb.GetModelRequest(model=MODEL),
        pb.ListMethodsRequest(model=MODEL),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_model_of_each_request_is_found(request_: pb.PredictRequest) -> None:
    assert first_bytes.model_name(request_.SerializeToString()) == "cells"


def test_the_model_of_a_stream_is_found_and_its_body_is_the_request() -> None:
    explain = pb.ExplainRequest(model=MODEL, inputs=[BIG])
    raw = pb.ExplainStreamRequest(explain=explain).SerializeToString()
    assert first_bytes.model_name(raw, streamed=True) == "cells"
    assert first_bytes.body(raw, streamed=True) == explain.SerializeToString()


def test_a_stream_and_a_call_of_one_question_have_one_key() -> None:
    explain = pb.ExplainRequest(model=MODEL, inputs=[BIG])
    once = Passage("", "Explain", explain.SerializeToString(), Call("a", 0.0), "a", ())
    wrapped = pb.ExplainStreamRequest(explain=explain).SerializeToString()
    often = Passage("", "ExplainStream", wrapped, Call("b", 0.0), "b", ())
    assert once.key == often.key


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_have_a_name_and_a_body(raw: bytes, streamed: bool) -> None:
    assert len(first_bytes.model_name(raw, streamed=streamed)) <= first_bytes.MOST_NAME
    assert first_bytes.body(raw, streamed=streamed) in raw
