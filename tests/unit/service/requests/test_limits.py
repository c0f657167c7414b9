"""The limits on what callers send: at each a request is read, one over it is refused."""

import numpy as np
import pytest

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.requests import inputs
from adcaptum.service.requests.questions import targets
from adcaptum.service.rpc.messages import MessageReader
from adcaptum.service.wire import structure, tensors, typed_values
from adcaptum.v1 import explanation_service_pb2 as pb, tensor_pb2
from tests.unit.service import asking
from tests.unit.service.asking import READING, index, method, typed
from tests.unit.service.tiny_model import served

REQUEST = MessageReader.of(pb.ExplainRequest.FromString)


def refusal(raw: bytes) -> Reason:
    with pytest.raises(InvalidRequest) as refused:
        REQUEST.decode(raw)
    return refused.value.reason


def test_bytes_beside_data() -> None:
    def large(size: int) -> bytes:
        # Large enough to be looked at: its data does not count.
        request = pb.ExplainRequest(inputs=[tensor_pb2.Tensor(data=bytes(1 << 17))])
        request.preset = "x" * size
        return request.SerializeToString()

    beside = len(large(60_000)) - (1 << 17) - 60_000
    most = structure.MOST_STRUCTURE - beside
    assert len(REQUEST.decode(large(most)).preset) == most
    assert refusal(large(most + 1)) is Reason.REQUEST_TOO_LARGE


def test_dimensions_of_a_tensor() -> None:
    def read(dimensions: int) -> None:
        tensors.decode(
            tensor_pb2.Tensor(datatype="FP32", shape=[1] * dimensions, data=bytes(4)), "x"
        )

    read(tensors.MOST_DIMENSIONS)
    with pytest.raises(InvalidRequest, match=str(tensors.MOST_DIMENSIONS)):
        read(tensors.MOST_DIMENSIONS + 1)


def test_numbers_of_values() -> None:
    def read(count: int) -> None:
        typed_values.read(typed([0.5] * count).values, "x")

    read(typed_values.MOST_NUMBERS)
    with pytest.raises(InvalidRequest, match=r"65,?536"):
        read(typed_values.MOST_NUMBERS + 1)


def test_tensors_of_a_kind() -> None:
    model = served()[0]

    def ask(count: int) -> InvalidRequest:
        request = asking.explain(np.ones((1, 3), np.float32), methods=[method("saliency")])
        one = request.inputs[0]
        request.inputs.extend([one] * (count - 1))
        with pytest.raises(InvalidRequest) as refused:
            asking.read(request, model, READING)
        return refused.value

    # As many may be sent, though this model has one input.
    assert ask(inputs.MOST_TENSORS).reason is Reason.FIELD_INVALID
    assert ask(inputs.MOST_TENSORS + 1).reason is Reason.REQUEST_TOO_LARGE


def test_examples_of_a_request() -> None:
    model = served()[0]
    most = model.loaded.declaration.max_examples

    def ask(count: int) -> None:
        rows = np.ones((count, 3), np.float32)
        asking.read(asking.explain(rows, methods=[method("saliency")]), model, READING)

    ask(most)
    with pytest.raises(InvalidRequest, match=str(most)):
        ask(most + 1)


def test_explanations_of_a_request() -> None:
    model = served()[0]

    def ask(count: int) -> None:
        request = asking.explain(np.ones((1, 3), np.float32), methods=[method("saliency")])
        del request.spec.targets[:]
        request.spec.targets.extend([index(0)] * count)
        asking.read(request, model, READING)

    ask(targets.MOST_EXPLANATIONS)
    with pytest.raises(InvalidRequest, match=r"8,?192"):
        ask(targets.MOST_EXPLANATIONS + 1)
