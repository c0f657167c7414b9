"""Errors -> gRPC statuses: the one table from reasons to status codes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.engine.errors import BudgetExceeded, EngineError, InvalidArgument, ModelError
from adcaptum.service.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Reason,
    ServiceError,
    TooBusy,
    TooLate,
    Unavailable,
    Unsupported,
)
from adcaptum.service.nearest import shortened

MOST_BYTES: Final = 1000
"""The longest text of a status, which has it twice; clients take 8 KiB of metadata."""

DETAILS_KEY: Final = "grpc-status-details-bin"

DOMAIN: Final = "adcaptum"
"""The domain of all reasons in `google.rpc.ErrorInfo`."""

CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                Reason.FIELD_INVALID,
                Reason.FIELD_UNKNOWN,
                Reason.REQUEST_UNREADABLE,
                Reason.REQUEST_TOO_LARGE,
                Reason.METHOD_UNKNOWN,
                Reason.PARAMETER_UNKNOWN,
                Reason.LAYER_UNKNOWN,
                Reason.LABEL_UNKNOWN,
                Reason.BASELINE_UNKNOWN,
                Reason.PRESET_UNKNOWN,
                Reason.BUDGET_TOO_SMALL,
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        **dict.fromkeys(
            (Reason.MODEL_NOT_FOUND, Reason.VERSION_NOT_FOUND, Reason.ALIAS_NOT_FOUND),
            grpc.StatusCode.NOT_FOUND,
        ),
        **dict.fromkeys(
            (Reason.MODEL_FAILED, Reason.MODEL_RAISED, Reason.METHOD_UNSUPPORTED),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
        **dict.fromkeys(
            (Reason.MODEL_LOADING, Reason.MODEL_STUCK, Reason.DRAINING),
            grpc.StatusCode.UNAVAILABLE,
        ),
        Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUOTA: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.DEADLINE_TOO_SHORT: grpc.StatusCode.DEADLINE_EXCEEDED,
        Reason.DEADLINE_PASSED: grpc.StatusCode.DEADLINE_EXCEEDED,
        Reason.CANCELLED: grpc.StatusCode.CANCELLED,
        Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    }
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
    reason = Reason.INTERNAL if known is None else known.reason
    message = _hidden(request_id) if known is None else bounded(known.message)
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


def reason(error: Exception) -> Reason:
    """Returns the reason of `error`, for programs."""
    known = as_service_error(error)
    return Reason.INTERNAL if known is None else known.reason


def code(error: Exception) -> grpc.StatusCode:
    """Returns the status code for `error`."""
    return CODES[reason(error)]


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


def is_fault(error: Exception) -> bool:
    """Returns True if `error` is a fault of the server, whose text callers never see."""
    return as_service_error(error) is None


def as_service_error(error: Exception) -> ServiceError | None:
    """Returns `error` as an error for callers, or None if it is a fault."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, InvalidArgument):
        # The engine has one mask; the message has a list of them.
        field = error.field.replace("feature_mask", "feature_masks")
        return InvalidRequest(field, f"{shortened(error.value)}: {error.allowed}")
    if isinstance(error, BudgetExceeded):
        return InvalidRequest("spec.budget.max_rows", str(error), reason=Reason.BUDGET_TOO_SMALL)
    if isinstance(error, ModelError):
        return Unsupported(str(error))
    if isinstance(error, EngineError):
        return InvalidRequest("request", str(error))
    return None


def bounded(text: str) -> str:
    """Returns a text cut to `MOST_BYTES`."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= MOST_BYTES:
        return text
    return f"{encoded[: MOST_BYTES - 3].decode(errors='ignore')}..."


def _hidden(request_id: str) -> str:
    return f"The server failed; its log says more under request id {request_id}."
