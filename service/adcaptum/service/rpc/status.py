"""Errors -> gRPC statuses with their details."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.service.answers import statuses
from adcaptum.service.answers.statuses import as_service_error, bounded
from adcaptum.service.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Reason,
    ServiceError,
    TooBusy,
    TooLate,
    Unavailable,
)

DETAILS_KEY: Final = "grpc-status-details-bin"

DOMAIN: Final = "adcaptum"
"""The domain of all reasons in `google.rpc.ErrorInfo`."""

_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {reason: _BY_NUMBER[number] for reason, number in statuses.CODES.items()}
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


def answer(error: Exception, request_id: str) -> Answer:
    """Returns the status of `error`; a fault's has only the id of the request."""
    known = as_service_error(error)
    reason = statuses.reason(error)
    message = statuses.message(error, request_id)
    status_code = CODES[reason]
    status = status_pb2.Status(code=status_code.value[0], message=message)
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=_metadata(known)),
        *_details(known),
        error_details_pb2.RequestInfo(request_id=request_id),
    ):
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        status.details.append(wrapped)
    return Answer(status_code, message, status.SerializeToString())


def code(error: Exception) -> grpc.StatusCode:
    """Returns the status code for `error`."""
    return CODES[statuses.reason(error)]


def _metadata(error: ServiceError | None) -> dict[str, str]:
    """Returns numbers and names that programs need beside the reason."""
    if isinstance(error, TooLate):
        return {"needed_seconds": f"{error.needed_s:.3g}"}
    if isinstance(error, TooBusy):
        return {"limit": error.limit}
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
