"""Bad input gets a clear typed error and harms nothing."""

from typing import Any

import grpc
import pytest

from adcaptum.v1 import explanation_pb2, model_pb2, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    cells,
    details,
    digits,
    explain,
    method,
    predict,
    reason,
)
from tests.integration.service.changes import changed
from tests.integration.service.invalid_requests import INVALID


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_request_is_told_the_field_and_what_is_allowed(
    name: str, stub: ExplanationServiceStub
) -> None:
    wrong = INVALID[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(wrong.change))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad: Any = details(caught.value)["BadRequest"]
    assert [violation.field for violation in bad.field_violations] == [wrong.field]
    assert wrong.text in bad.field_violations[0].description
    assert reason(caught.value) == wrong.reason
    assert stub.Predict(predict(cells())).outputs


@pytest.mark.parametrize("name", ["unknown_priority", "unknown_end"])
def test_a_kept_answer_is_none_to_an_invalid_request(
    name: str, stub: ExplanationServiceStub
) -> None:
    stub.Explain(changed(lambda request: None))
    kept = stub.Explain(changed(lambda request: None))
    assert kept.cache == explanation_pb2.CACHE_STATUS_HIT
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(changed(INVALID[name].change))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


MISSING = {
    "model": (model_pb2.ModelRef(name="cels"), "'cells'"),
    "version": (model_pb2.ModelRef(name="cells", version="3"), "'1'"),
    "alias": (model_pb2.ModelRef(name="cells", alias="stabel"), "'stable'"),
}


@pytest.mark.parametrize("resource", MISSING)
def test_what_does_not_exist_is_answered_with_the_nearest_names(
    resource: str, stub: ExplanationServiceStub
) -> None:
    model, text = MISSING[resource]
    request = changed(lambda request: request.model.CopyFrom(model))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    found = details(caught.value)
    assert found["ResourceInfo"].resource_type == resource
    assert found["ErrorInfo"].reason == f"{resource.upper()}_NOT_FOUND"
    # A number is like no other.
    nearest = "" if resource == "version" else text.strip("'")
    assert found["ErrorInfo"].metadata["nearest"] == nearest
    assert text in str(caught.value.details())


def test_broken_images_are_refused(stub: ExplanationServiceStub) -> None:
    request = explain(digits(), model="digits")
    request.inputs[0].CopyFrom(tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=b"\4\0\0\0nope"))
    with pytest.raises(grpc.RpcError, match="not a readable PNG or JPEG"):
        stub.Explain(request)


def test_a_message_over_the_limit_is_refused(
    stub: ExplanationServiceStub, channel: grpc.Channel
) -> None:
    request = predict(cells())
    request.inputs[0].data = b"\0" * (65 << 20)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Predict(predict(cells())).outputs


def test_bytes_that_are_no_request_harm_nothing(
    stub: ExplanationServiceStub, channel: grpc.Channel
) -> None:
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Explain")
    with pytest.raises(grpc.RpcError):
        call(b"\xff\xff\xff")
    assert stub.Predict(predict(cells())).outputs


def test_an_unknown_method_of_the_service_is_unimplemented(channel: grpc.Channel) -> None:
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Guess")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("bad", ["a b", "x" * 200])
def test_a_bad_request_id_is_replaced(bad: str, stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(predict(cells()), metadata=(("x-request-id", bad),))
    assert reply.request_id != bad


def test_an_expired_deadline_is_told(stub: ExplanationServiceStub) -> None:
    request = explain(digits(8), method("integrated_gradients", n_steps=900), model="digits")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(request, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
