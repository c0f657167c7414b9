from hypothesis import given, strategies as st

from adcaptum.service.front.outline import outline
from adcaptum.service.front.passage import Passage
from adcaptum.service.handlers.call import Call
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

MODEL = model_pb2.ModelRef(name="cells", version="1")


def explain(
    numbers: int, steps: int, cache: pb.CachePolicy.ValueType = pb.CACHE_POLICY_USE
) -> pb.ExplainRequest:
    method = method_pb2.MethodSpec(name="integrated_gradients")
    method.params["n_steps"].number_value = steps
    inputs = [tensor_pb2.Tensor(datatype="FP32", shape=[1, numbers], data=bytes(4 * numbers))]
    spec = explain_spec_pb2.ExplainSpec(methods=[method])
    return pb.ExplainRequest(model=MODEL, inputs=inputs, spec=spec, cache=cache)


def test_a_question_is_all_but_the_inputs() -> None:
    one = outline(explain(10, 50).SerializeToString())
    larger = outline(explain(1000, 50).SerializeToString())
    finer = outline(explain(10, 500).SerializeToString())
    assert one.question == larger.question != finer.question
    assert 40 < one.nbytes < 80
    assert 4000 < larger.nbytes < 4080


def test_whether_a_request_shares_an_answer_is_read() -> None:
    assert not outline(explain(1, 1).SerializeToString()).bypasses
    bypassing = explain(1, 1, cache=pb.CACHE_POLICY_BYPASS)
    assert outline(bypassing.SerializeToString()).bypasses


def test_requests_of_one_question_are_of_one_kind_and_predictions_of_another() -> None:
    raw = explain(10, 50).SerializeToString()
    once = Passage("", "Explain", raw, Call("a", 0.0), "a", ()).asked()
    streamed = pb.ExplainStreamRequest(explain=explain(10, 50)).SerializeToString()
    often = Passage("", "ExplainStream", streamed, Call("b", 0.0), "b", ()).asked()
    assert once == often
    assert once.shares
    predicted = pb.PredictRequest(model=MODEL, inputs=explain(10, 1).inputs).SerializeToString()
    other = Passage("", "Predict", predicted, Call("c", 0.0), "c", ()).asked()
    assert not other.shares
    assert not {*other.kinds} & {*once.kinds}


@given(st.binary(max_size=300))
def test_any_bytes_have_an_outline(raw: bytes) -> None:
    assert 0 <= outline(raw).nbytes <= len(raw)
