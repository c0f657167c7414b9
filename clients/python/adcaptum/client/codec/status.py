"""Conversion of gRPC errors to the errors of this package."""

from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # no marker
from grpc_status import rpc_status  # type: ignore[import-untyped] # it comes without types

from adcaptum.client.errors import (
    AdcaptumError,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

REQUEST_ID_KEY = "x-request-id"

# Errors without details.
_PLAIN: dict[grpc.StatusCode, type[AdcaptumError]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}
_INVALID = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
)
_BUSY: dict[grpc.StatusCode, type[ResourceExhausted | Unavailable]] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
}
_Detail = TypeVar("_Detail", bound=Message)


def error_of(failure: grpc.RpcError) -> AdcaptumError:
    """Return the error of this package for a gRPC error."""
    if not isinstance(failure, grpc.Call | grpc.aio.AioRpcError):
        return Internal(str(failure))
    status = _status_of(failure)
    message = failure.details() or f"the call failed with {failure.code().name}"
    request_id = _request_id_of(failure, status)
    code = failure.code()
    if code in _INVALID:
        violations = _violations(status)
        return InvalidRequest(message, violations=violations, request_id=request_id)
    if code is grpc.StatusCode.NOT_FOUND:
        resource = _detail(status, error_details_pb2.ResourceInfo)
        return NotFound(
            message,
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
            request_id=request_id,
        )
    if code in _BUSY:
        retry_after_s = _retry_after_s(status)
        return _BUSY[code](message, retry_after_s=retry_after_s, request_id=request_id)
    return _PLAIN.get(code, Internal)(message, request_id=request_id)


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


def _violations(status: status_pb2.Status) -> tuple[FieldViolation, ...]:
    request = _detail(status, error_details_pb2.BadRequest)
    return tuple(FieldViolation(each.field, each.description) for each in request.field_violations)


def _retry_after_s(status: status_pb2.Status) -> float | None:
    retry = _detail(status, error_details_pb2.RetryInfo)
    if not retry.HasField("retry_delay"):
        return None
    return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9


def _request_id_of(failure: grpc.Call | grpc.aio.AioRpcError, status: status_pb2.Status) -> str:
    if told := _detail(status, error_details_pb2.RequestInfo).request_id:
        return told
    for metadata in (failure.initial_metadata(), failure.trailing_metadata()):
        for key, value in metadata or ():
            if key == REQUEST_ID_KEY:
                return value if isinstance(value, str) else value.decode()
    return ""
