"""The one table from errors to gRPC statuses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.engine.errors import BudgetExceeded, EngineError, InvalidArgument, ModelError
from adcaptum.service.errors import (
    InvalidRequest,
    Kind,
    NotFound,
    ServiceError,
    TooBusy,
    Unavailable,
    Unsupported,
)
from adcaptum.service.nearest import shortened

MOST_BYTES: Final = 1000
"""The longest text of a status, which has it twice; clients take 8 KiB of metadata."""

DETAILS_KEY: Final = "grpc-status-details-bin"

Details = Callable[[ServiceError], Message | None]


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


def _bad_request(error: ServiceError) -> Message | None:
    if not isinstance(error, InvalidRequest):
        return None
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=bounded(violation.field), description=bounded(violation.description)
            )
            for violation in error.violations
        ]
    )


def _resource(error: ServiceError) -> Message | None:
    if not isinstance(error, NotFound):
        return None
    return error_details_pb2.ResourceInfo(
        resource_type=error.resource, resource_name=error.name, description=bounded(error.message)
    )


def _retry(error: ServiceError) -> Message | None:
    if not isinstance(error, TooBusy | Unavailable):
        return None
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(round(error.retry_s * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _none(_: ServiceError) -> None:
    return None


TABLE: Final[Mapping[Kind, tuple[grpc.StatusCode, Details]]] = MappingProxyType(
    {
        Kind.INVALID: (grpc.StatusCode.INVALID_ARGUMENT, _bad_request),
        Kind.NOT_FOUND: (grpc.StatusCode.NOT_FOUND, _resource),
        Kind.BUSY: (grpc.StatusCode.RESOURCE_EXHAUSTED, _retry),
        Kind.DEADLINE: (grpc.StatusCode.DEADLINE_EXCEEDED, _none),
        Kind.UNAVAILABLE: (grpc.StatusCode.UNAVAILABLE, _retry),
        Kind.CANCELLED: (grpc.StatusCode.CANCELLED, _none),
        Kind.UNSUPPORTED: (grpc.StatusCode.FAILED_PRECONDITION, _none),
    }
)


def answer(error: Exception, request_id: str) -> Answer:
    """Returns the status of `error`; a fault's has only the id of the request."""
    known = as_service_error(error)
    if known is None:
        message, detail = _hidden(request_id), None
    else:
        _, make = TABLE[known.kind]
        message, detail = bounded(known.message), make(known)
    packed = [error_details_pb2.RequestInfo(request_id=request_id), *([detail] if detail else [])]
    status_code = code(error)
    status = status_pb2.Status(code=status_code.value[0], message=message)
    for one in reversed(packed):
        wrapped = any_pb2.Any()
        wrapped.Pack(one)
        status.details.append(wrapped)
    return Answer(status_code, message, status.SerializeToString())


def code(error: Exception) -> grpc.StatusCode:
    """Returns the status code for `error`."""
    known = as_service_error(error)
    return grpc.StatusCode.INTERNAL if known is None else TABLE[known.kind][0]


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
        return InvalidRequest("budget.max_rows", str(error))
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
