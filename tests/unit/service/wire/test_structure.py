import pytest

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.wire.structure import (
    MOST_FIELDS,
    MOST_STRUCTURE,
    check_structure,
    payloads,
)
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, method_pb2, tensor_pb2

FIELDS = payloads(pb.ExplainRequest.DESCRIPTOR)
INTEGERS = method_pb2.ParameterValue(integers=method_pb2.IntegerList(values=[1] * 70000))


def refused(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_structure(raw, FIELDS)
    return str(caught.value)


def test_data_of_tensors_are_not_structure_wherever_they_are() -> None:
    data = tensor_pb2.Tensor(name="x", datatype="FP32", shape=[1] * 8, data=b"x" * (1 << 20))
    request = pb.ExplainRequest(
        inputs=[data] * 3,
        feature_masks=[data],
        baselines=[explanation_pb2.Baseline(tensor=data)],
        layer_baselines=[explanation_pb2.Baseline(tensor=data)],
    )
    check_structure(request.SerializeToString(), FIELDS)
    stream = pb.ExplainStreamRequest(explain=request)
    fields = payloads(pb.ExplainStreamRequest.DESCRIPTOR)
    check_structure(stream.SerializeToString(), fields)


@pytest.mark.parametrize(
    "request_",
    [
        pb.ExplainRequest(neuron=explanation_pb2.Neuron(index=range(1 << 16))),
        pb.ExplainRequest(target=explanation_pb2.Target(label="x" * (1 << 17))),
        pb.ExplainRequest(methods=[method_pb2.MethodSpec(name="x", params={"a": INTEGERS})]),
        pb.ExplainRequest(inputs=[tensor_pb2.Tensor(shape=[1] * 70000)]),
    ],
    ids=["indices", "label", "integers", "shape"],
)
def test_much_structure_is_refused_with_its_size(request_: pb.ExplainRequest) -> None:
    assert f"at most {MOST_STRUCTURE}" in refused(request_.SerializeToString())


def test_fields_that_the_server_does_not_know_are_structure() -> None:
    raw = bytes([0xFA, 0x7F, 0x80, 0x80, 0x08]) + b"\0" * (1 << 17)
    assert "at most" in refused(raw)


def test_many_small_fields_are_refused_after_the_first_ones() -> None:
    one = pb.ExplainRequest(inputs=[tensor_pb2.Tensor(data=b"x" * 50)]).SerializeToString()
    assert str(MOST_FIELDS) in refused(one * 10_000)


@pytest.mark.parametrize(
    "raw", [b"\xff" * 70000, b"\x12\xff\xff\xff\x7f" + b"\0" * 70000, b"\x0b" * 70000]
)
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    assert "not a message" in refused(raw)
