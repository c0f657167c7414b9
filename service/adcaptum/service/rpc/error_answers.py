"""Errors for callers -> gRPC statuses with their details; nothing here needs PyTorch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.service.answers import codes
from adcaptum.service.answers.codes import bounded
from adcaptum.service.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Reason,
    ServiceError,
    TooBusy,
    TooLate,
    Unavailable,
)

DETAILS_KEY: Final = "grpc-status-details-bin"

DOMAIN: Final = "adcaptum"
"""The domain of all reasons in `google.rpc.ErrorInfo`."""

CODES_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}
"""The status codes by their numbers."""

CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {reason: CODES_BY_NUMBER[number] for reason, number in codes.CODES.items()}
)
"""The status code of each reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The gRPC form of an error.

    Attributes:
        code: The status code.
        message: For people.
        details: A serialised `google.rpc.Status`, sent under `DETAILS_KEY`.
    """

    code: grpc.StatusCode
    message: str
    details: bytes


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """The statuses that a server gives to errors.

    Attributes:
        answer: Returns the status of an error, for the request with an id.
        code: Returns its status code.
        reason: Returns its reason, for programs.
        is_hidden: Returns whether callers never see its text, so that the log has to have it.
        is_logged: Returns whether another process has logged it.
    """

    answer: Callable[[Exception, str], Answer]
    code: Callable[[Exception], grpc.StatusCode]
    reason: Callable[[Exception], str]
    is_hidden: Callable[[Exception], bool]
    is_logged: Callable[[Exception], bool] = lambda _: False


def answer(error: ServiceError, request_id: str) -> Answer:
    """Returns the status of an error for callers."""
    return told(error, error.reason, bounded(error.message), request_id)


def told(error: ServiceError | None, reason: Reason, message: str, request_id: str) -> Answer:
    """Returns the status of an error of which the reason and the text are chosen already.

    Args:
        error: The error, for its details; None: it has none.
        reason: Its reason.
        message: Its text.
        request_id: The id of the request.
    """
    status_code = CODES[reason]
    status = status_pb2.Status(code=status_code.value[0], message=message)
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=_metadata(error)),
        *_details(error),
        error_details_pb2.RequestInfo(request_id=request_id),
    ):
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        status.details.append(wrapped)
    return Answer(status_code, message, status.SerializeToString())


def _metadata(error: ServiceError | None) -> dict[str, str]:
    """Returns numbers and names that programs need beside the reason."""
    if isinstance(error, TooLate):
        return {"needed_seconds": f"{error.needed_s:.3g}"}
    if isinstance(error, TooBusy):
        return {"limit": error.limit}
    if isinstance(error, PermissionDenied):
        return {"role": error.role, **({"model": error.model} if error.model else {})}
    if isinstance(error, NotFound) and error.nearest:
        return {"nearest": bounded(", ".join(error.nearest))}
    return {}


def _details(error: ServiceError | None) -> Iterator[Message]:
    """Yields the details that go with a kind of error, beside its reason."""
    match error:
        case InvalidRequest():
            yield error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=bounded(violation.field), description=bounded(violation.description)
                    )
                    for violation in error.violations
                ]
            )
        case NotFound():
            yield error_details_pb2.ResourceInfo(
                resource_type=error.resource,
                resource_name=error.name,
                description=bounded(error.message),
            )
        case FailedPrecondition():
            yield error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type=error.reason,
                        subject=error.subject,
                        description=bounded(error.message),
                    )
                ]
            )
        case TooBusy() | Unavailable():
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(round(error.retry_s * 1e9))
            yield error_details_pb2.RetryInfo(retry_delay=delay)
            if isinstance(error, TooBusy) and error.reason is Reason.QUOTA:
                yield error_details_pb2.QuotaFailure(
                    violations=[
                        error_details_pb2.QuotaFailure.Violation(
                            subject=error.limit, description=bounded(error.message)
                        )
                    ]
                )
