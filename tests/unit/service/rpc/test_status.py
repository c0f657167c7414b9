"""Errors -> statuses."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.engine.errors import BudgetExceeded, InvalidArgument, NotDifferentiable
from adcaptum.service import errors
from adcaptum.service.answers import codes, statuses
from adcaptum.service.errors import Reason
from adcaptum.service.rpc import error_answers, status

Code = grpc.StatusCode
BadRequest = error_details_pb2.BadRequest
ResourceInfo = error_details_pb2.ResourceInfo
PreconditionFailure = error_details_pb2.PreconditionFailure
RetryInfo = error_details_pb2.RetryInfo
QuotaFailure = error_details_pb2.QuotaFailure

CASES: list[tuple[Exception, Code, str, tuple[Any, ...]]] = [
    (
        errors.InvalidRequest("a.b", "wrong"),
        Code.INVALID_ARGUMENT,
        "FIELD_INVALID",
        (BadRequest,),
    ),
    (
        errors.InvalidRequest.unknown("a.b", "x", ["y"], Reason.LAYER_UNKNOWN),
        Code.INVALID_ARGUMENT,
        "LAYER_UNKNOWN",
        (BadRequest,),
    ),
    (errors.NotFound("model", "x", ["y"]), Code.NOT_FOUND, "MODEL_NOT_FOUND", (ResourceInfo,)),
    (errors.NotFound("version", "x", ["y"]), Code.NOT_FOUND, "VERSION_NOT_FOUND", (ResourceInfo,)),
    (errors.NotFound("alias", "x", ["y"]), Code.NOT_FOUND, "ALIAS_NOT_FOUND", (ResourceInfo,)),
    (
        errors.TooBusy("full", retry_s=2, limit="rows"),
        Code.RESOURCE_EXHAUSTED,
        "QUEUE_FULL",
        (RetryInfo,),
    ),
    (
        errors.TooBusy("yours are", retry_s=2, limit="caller_rows"),
        Code.RESOURCE_EXHAUSTED,
        "QUOTA",
        (QuotaFailure, RetryInfo),
    ),
    (
        errors.Unavailable("loading", reason=Reason.MODEL_LOADING),
        Code.UNAVAILABLE,
        "MODEL_LOADING",
        (RetryInfo,),
    ),
    (errors.DeadlineExceeded("late"), Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED", ()),
    (errors.TooLate("soon", needed_s=3), Code.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT", ()),
    (errors.Cancelled("gone"), Code.CANCELLED, "CANCELLED", ()),
    (
        errors.ModelFailed("broken", subject="m"),
        Code.FAILED_PRECONDITION,
        "MODEL_FAILED",
        (PreconditionFailure,),
    ),
    (
        errors.ModelRaised(subject="m"),
        Code.FAILED_PRECONDITION,
        "MODEL_RAISED",
        (PreconditionFailure,),
    ),
    (
        errors.Unsupported("cannot"),
        Code.FAILED_PRECONDITION,
        "METHOD_UNSUPPORTED",
        (PreconditionFailure,),
    ),
    (InvalidArgument("target", 9, "less"), Code.INVALID_ARGUMENT, "FIELD_INVALID", (BadRequest,)),
    (BudgetExceeded(10, 5), Code.INVALID_ARGUMENT, "BUDGET_TOO_SMALL", (BadRequest,)),
    (
        NotDifferentiable("no"),
        Code.FAILED_PRECONDITION,
        "METHOD_UNSUPPORTED",
        (PreconditionFailure,),
    ),
    (RuntimeError("secret"), Code.INTERNAL, "INTERNAL", ()),
]


@pytest.mark.parametrize(
    ("error", "code", "reason", "details"), CASES, ids=[type(case[0]).__name__ for case in CASES]
)
def test_each_error_has_its_code_reason_and_details(
    error: Exception, code: Code, reason: str, details: tuple[Any, ...]
) -> None:
    answer = status.answer(error, "the-id")
    message = status_pb2.Status.FromString(answer.details)
    assert answer.code is code
    assert message.code == code.value[0]
    assert message.message == answer.message
    kinds = [each.TypeName() for each in message.details]
    expected = [
        "google.rpc.ErrorInfo",
        "google.rpc.RequestInfo",
        *(each.DESCRIPTOR.full_name for each in details),
    ]
    assert sorted(kinds) == sorted(expected)
    info = detail(answer, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("adcaptum", reason)
    assert detail(answer, error_details_pb2.RequestInfo).request_id == "the-id"


def detail(answer: error_answers.Answer, kind: Any) -> Any:
    """The detail of a kind, of which there is one."""
    found = kind()
    (wrapped,) = (
        each
        for each in status_pb2.Status.FromString(answer.details).details
        if each.Is(kind.DESCRIPTOR)
    )
    assert wrapped.Unpack(found)
    return found


def test_every_reason_is_in_the_table() -> None:
    assert set(error_answers.CODES) == set(Reason)
    assert {reason.value for reason in Reason} == set(Reason.__members__)


def test_programs_get_the_numbers_of_a_refusal() -> None:
    def metadata(error: Exception) -> dict[str, str]:
        return dict(detail(status.answer(error, "id"), error_details_pb2.ErrorInfo).metadata)

    assert metadata(errors.TooLate("soon", needed_s=3.25)) == {"needed_seconds": "3.25"}
    assert metadata(errors.TooBusy("full", retry_s=1, limit="bytes")) == {"limit": "bytes"}
    assert metadata(errors.NotFound("model", "cell", ["cells"])) == {"nearest": "cells"}
    assert metadata(errors.InvalidRequest("a", "b")) == {}


def test_a_precondition_names_the_model() -> None:
    answer = status.answer(errors.ModelRaised(subject="cells"), "the-id")
    (violation,) = detail(answer, PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("MODEL_RAISED", "cells")


def test_a_quota_names_the_limit() -> None:
    answer = status.answer(errors.TooBusy("x", retry_s=2, limit="caller_bytes"), "the-id")
    (violation,) = detail(answer, QuotaFailure).violations
    assert violation.subject == "caller_bytes"
    assert detail(answer, RetryInfo).retry_delay.ToSeconds() == 2


def _raised() -> Exception:
    error = errors.ModelRaised(subject="m")
    error.__cause__ = ArithmeticError("secret")
    return error


@pytest.mark.parametrize("error", [RuntimeError("secret"), _raised()], ids=["fault", "the model"])
def test_what_code_raises_tells_nothing_but_the_id(error: Exception) -> None:
    answer = status.answer(error, "the-id")
    assert "secret" not in answer.message
    assert b"secret" not in answer.details
    assert "the-id" in answer.message
    assert statuses.is_hidden(error)


@pytest.mark.parametrize("text", ["x" * 100_000, "\u2603" * 100_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda text: errors.InvalidRequest(text, text),
        lambda text: errors.NotFound("model", text, [text]),
        lambda text: errors.ModelFailed(text, subject="m"),
        lambda text: errors.TooBusy(text, retry_s=1, limit="caller_rows"),
    ],
    ids=["invalid", "not found", "failed", "quota"],
)
def test_a_status_is_short_enough_for_every_client(
    text: str, make: Callable[[str], Exception]
) -> None:
    answer = status.answer(make(text), "id")
    assert len(answer.message.encode()) <= codes.MOST_BYTES
    # Each byte of the message may take three on its way.
    assert len(answer.details) + 3 * len(answer.message.encode()) < 8192
