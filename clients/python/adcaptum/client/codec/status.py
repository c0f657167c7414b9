"""Conversion of gRPC errors to the errors of this package."""

from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # no marker
from grpc_status import rpc_status  # type: ignore[import-untyped] # it comes without types

from adcaptum.client.errors import (
    AdcaptumError,
    Cancelled,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

REQUEST_ID_KEY: Final = "x-request-id"
DOMAIN: Final = "adcaptum"

_ERRORS: dict[grpc.StatusCode, type[AdcaptumError]] = {
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}
_Detail = TypeVar("_Detail", bound=Message)


def error_of(failure: grpc.RpcError) -> AdcaptumError:
    """Return the error of this package for a gRPC error."""
    if not isinstance(failure, grpc.Call | grpc.aio.AioRpcError):
        return Internal(str(failure))
    status = _status_of(failure)
    code = failure.code()
    info = _detail(status, error_details_pb2.ErrorInfo)
    known = info.domain == DOMAIN
    kind = _ERRORS.get(code, Internal)
    return kind(
        failure.details() or f"the call failed with {code.name}",
        reason=info.reason if known else "",
        metadata=dict(info.metadata) if known else {},
        request_id=_request_id_of(failure, status),
        **_details(kind, status),
    )


def _details(kind: type[AdcaptumError], status: status_pb2.Status) -> dict[str, Any]:
    """Return the arguments that an error takes beside those of all errors."""
    if kind is InvalidRequest:
        request = _detail(status, error_details_pb2.BadRequest)
        violations = (
            FieldViolation(each.field, each.description) for each in request.field_violations
        )
        return {"violations": tuple(violations)}
    if kind is NotFound:
        resource = _detail(status, error_details_pb2.ResourceInfo)
        return {
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
        }
    if kind is FailedPrecondition:
        failed = _detail(status, error_details_pb2.PreconditionFailure).violations
        return {"subject": failed[0].subject if failed else ""}
    if kind in (ResourceExhausted, Unavailable):
        return {"retry_after_s": _retry_after_s(status)}
    return {}


def _status_of(failure: grpc.Call | grpc.aio.AioRpcError) -> status_pb2.Status:
    try:
        status = rpc_status.from_call(failure)
    except (ValueError, DecodeError):
        # A proxy that rewrites code or message leaves details that no longer match.
        status = None
    return status_pb2.Status() if status is None else status


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail:
    """Return the first detail of this kind, an empty one if there is none."""
    found = kind()
    for detail in status.details:
        if detail.Unpack(found):
            break
    return found


def _retry_after_s(status: status_pb2.Status) -> float | None:
    retry = _detail(status, error_details_pb2.RetryInfo)
    if not retry.HasField("retry_delay"):
        return None
    return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9


def _request_id_of(failure: grpc.Call | grpc.aio.AioRpcError, status: status_pb2.Status) -> str:
    if own := _detail(status, error_details_pb2.RequestInfo).request_id:
        return own
    for metadata in (failure.initial_metadata(), failure.trailing_metadata()):
        for key, value in metadata or ():
            if key == REQUEST_ID_KEY:
                return value if isinstance(value, str) else value.decode()
    return ""
