"""Errors -> statuses."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.engine.errors import BudgetExceeded, InvalidArgument, NotDifferentiable
from adcaptum.service import errors
from adcaptum.service.rpc import status

CASES: list[tuple[Exception, grpc.StatusCode, Any]] = [
    (
        errors.InvalidRequest("a.b", "wrong"),
        grpc.StatusCode.INVALID_ARGUMENT,
        error_details_pb2.BadRequest,
    ),
    (
        errors.NotFound("model", "x", ["y"]),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ResourceInfo,
    ),
    (
        errors.TooBusy("full", retry_s=2, reason="rows"),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        error_details_pb2.RetryInfo,
    ),
    (errors.Unavailable("loading"), grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo),
    (errors.DeadlineExceeded("late"), grpc.StatusCode.DEADLINE_EXCEEDED, None),
    (errors.Cancelled("gone"), grpc.StatusCode.CANCELLED, None),
    (errors.Unsupported("cannot"), grpc.StatusCode.FAILED_PRECONDITION, None),
    (
        InvalidArgument("target", 9, "less"),
        grpc.StatusCode.INVALID_ARGUMENT,
        error_details_pb2.BadRequest,
    ),
    (BudgetExceeded(10, 5), grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.BadRequest),
    (NotDifferentiable("no"), grpc.StatusCode.FAILED_PRECONDITION, None),
    (RuntimeError("secret"), grpc.StatusCode.INTERNAL, None),
]


@pytest.mark.parametrize(
    ("error", "code", "detail"), CASES, ids=[type(case[0]).__name__ for case in CASES]
)
def test_each_kind_has_its_code_and_detail(
    error: Exception, code: grpc.StatusCode, detail: Any
) -> None:
    answer = status.answer(error, "the-id")
    message = status_pb2.Status.FromString(answer.details)
    assert answer.code is code
    assert message.code == code.value[0]
    assert message.message == answer.message
    kinds = [each.TypeName() for each in message.details]
    expected = [] if detail is None else [detail.DESCRIPTOR.full_name]
    assert sorted(kinds) == sorted([*expected, "google.rpc.RequestInfo"])


def test_every_kind_is_in_the_table() -> None:
    assert set(status.TABLE) == set(errors.Kind)


def test_an_unknown_error_tells_nothing_but_the_id() -> None:
    answer = status.answer(RuntimeError("secret"), "the-id")
    assert "secret" not in answer.message
    assert b"secret" not in answer.details
    assert "the-id" in answer.message


@pytest.mark.parametrize("text", ["x" * 100_000, "\u2603" * 100_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda text: errors.InvalidRequest(text, text),
        lambda text: errors.NotFound("model", text, [text]),
    ],
    ids=["invalid", "not found"],
)
def test_a_status_is_short_enough_for_every_client(
    text: str, make: Callable[[str], Exception]
) -> None:
    answer = status.answer(make(text), "id")
    assert len(answer.message.encode()) <= status.MOST_BYTES
    # Each byte of the message may take three on its way.
    assert len(answer.details) + 3 * len(answer.message.encode()) < 8192
