"""What is raised when a call fails."""

import pickle

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped] # no marker

from adcaptum import client as package
from adcaptum.client import (
    AdcaptumError,
    Client,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from adcaptum.client.codec.status import error_of
from tests.unit.client.canned_server import CannedServicer, failure

VIOLATION = error_details_pb2.BadRequest.FieldViolation


def because(reason: str, **metadata: str) -> Message:
    """A reason as the server sends it."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="adcaptum", metadata=metadata)


def failed(client: Client, servicer: CannedServicer, code: int, *details: Message) -> AdcaptumError:
    """The error that a failing call raises."""
    servicer.failures.append(failure(code, "went wrong", *details))
    with pytest.raises(AdcaptumError) as caught:
        client.models()
    return caught.value


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (code_pb2.CANCELLED, "Cancelled"),
        (code_pb2.UNKNOWN, "Internal"),
        (code_pb2.INVALID_ARGUMENT, "InvalidRequest"),
        (code_pb2.DEADLINE_EXCEEDED, "DeadlineExceeded"),
        (code_pb2.NOT_FOUND, "NotFound"),
        (code_pb2.PERMISSION_DENIED, "PermissionDenied"),
        (code_pb2.RESOURCE_EXHAUSTED, "ResourceExhausted"),
        (code_pb2.FAILED_PRECONDITION, "FailedPrecondition"),
        (code_pb2.OUT_OF_RANGE, "InvalidRequest"),
        (code_pb2.UNIMPLEMENTED, "Unimplemented"),
        (code_pb2.INTERNAL, "Internal"),
        (code_pb2.DATA_LOSS, "Internal"),
        (code_pb2.UNAUTHENTICATED, "Unauthenticated"),
    ],
)
def test_each_code_has_its_error(
    client: Client, servicer: CannedServicer, code: int, error: str
) -> None:
    raised = failed(client, servicer, code)
    assert type(raised) is vars(package)[error]
    assert raised.message == "went wrong"
    assert (raised.reason, raised.metadata) == ("", {})


def test_the_error_of_grpc_is_the_cause(client: Client, servicer: CannedServicer) -> None:
    assert isinstance(failed(client, servicer, code_pb2.INTERNAL).__cause__, grpc.RpcError)


def test_an_invalid_request_lists_what_is_wrong(client: Client, servicer: CannedServicer) -> None:
    wrong = [VIOLATION(field="seed", description="no"), VIOLATION(field="x", description="neither")]
    raised = failed(
        client,
        servicer,
        code_pb2.INVALID_ARGUMENT,
        error_details_pb2.BadRequest(field_violations=wrong),
    )
    assert isinstance(raised, InvalidRequest)
    assert raised.violations == (FieldViolation("seed", "no"), FieldViolation("x", "neither"))
    assert str(raised) == "went wrong; seed: no; x: neither"


def test_a_violation_that_the_message_says_is_not_said_twice() -> None:
    error = InvalidRequest("seed: too large", violations=(FieldViolation("seed", "too large"),))
    assert str(error) == "seed: too large"


def test_what_was_not_found_is_named(client: Client, servicer: CannedServicer) -> None:
    resource = error_details_pb2.ResourceInfo(resource_type="model", resource_name="cels")
    reason = because("MODEL_NOT_FOUND", nearest="cells, bells")
    raised = failed(client, servicer, code_pb2.NOT_FOUND, reason, resource)
    assert isinstance(raised, NotFound)
    assert (raised.resource_type, raised.resource_name) == ("model", "cels")
    assert raised.nearest == ("cells", "bells")
    nameless = failed(client, servicer, code_pb2.NOT_FOUND)
    assert isinstance(nameless, NotFound)
    assert nameless.nearest == ()


def test_each_error_has_its_reason_for_programs(client: Client, servicer: CannedServicer) -> None:
    raised = failed(client, servicer, code_pb2.RESOURCE_EXHAUSTED, because("QUOTA", limit="rows"))
    assert (raised.reason, raised.metadata) == ("QUOTA", {"limit": "rows"})


def test_a_reason_of_a_later_release_is_passed_on(client: Client, servicer: CannedServicer) -> None:
    raised = failed(client, servicer, code_pb2.INVALID_ARGUMENT, because("CHALK_TOO_SHORT"))
    assert isinstance(raised, InvalidRequest)
    assert raised.reason == "CHALK_TOO_SHORT"


def test_reasons_of_others_are_not_ours(client: Client, servicer: CannedServicer) -> None:
    foreign = error_details_pb2.ErrorInfo(reason="QUOTA", domain="proxy.example")
    assert failed(client, servicer, code_pb2.RESOURCE_EXHAUSTED, foreign).reason == ""


def test_a_model_that_failed_is_named(client: Client, servicer: CannedServicer) -> None:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type="MODEL_FAILED", subject="cells"
    )
    raised = failed(
        client,
        servicer,
        code_pb2.FAILED_PRECONDITION,
        because("MODEL_FAILED"),
        error_details_pb2.PreconditionFailure(violations=[violation]),
    )
    assert isinstance(raised, FailedPrecondition)
    assert (raised.reason, raised.subject) == ("MODEL_FAILED", "cells")


@pytest.mark.parametrize(("said", "needed"), [({"needed_seconds": "2.5"}, 2.5), ({}, None)])
def test_a_deadline_that_is_too_short_says_what_is_needed(
    client: Client, servicer: CannedServicer, said: dict[str, str], needed: float | None
) -> None:
    reason = because("DEADLINE_TOO_SHORT", **said)
    raised = failed(client, servicer, code_pb2.DEADLINE_EXCEEDED, reason)
    assert isinstance(raised, DeadlineExceeded)
    assert raised.needed_seconds == needed


def test_a_full_server_says_when_to_come_back(client: Client, servicer: CannedServicer) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    raised = failed(client, servicer, code_pb2.RESOURCE_EXHAUSTED, retry)
    assert isinstance(raised, ResourceExhausted)
    assert raised.retry_after_s == 1.5


def test_a_full_server_need_not_say_when(client: Client, servicer: CannedServicer) -> None:
    raised = failed(client, servicer, code_pb2.RESOURCE_EXHAUSTED)
    assert isinstance(raised, ResourceExhausted)
    assert raised.retry_after_s is None


def test_a_failure_of_the_server_has_the_id_of_the_request(
    client: Client, servicer: CannedServicer
) -> None:
    info = error_details_pb2.RequestInfo(request_id="abc")
    assert failed(client, servicer, code_pb2.INTERNAL, info).request_id == "abc"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Client("127.0.0.1:1", max_attempts=1) as client, pytest.raises(Unavailable) as caught:
        client.models()
    assert caught.value.retry_after_s is None


def test_an_error_of_grpc_that_is_no_call_is_internal() -> None:
    assert isinstance(error_of(grpc.RpcError("odd")), Internal)


def test_errors_survive_pickling() -> None:
    error = InvalidRequest("bad", violations=(FieldViolation("seed", "no"),), request_id="abc")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.violations, copy.request_id) == (str(error), error.violations, "abc")
    assert copy.reason == "FIELD_INVALID"
