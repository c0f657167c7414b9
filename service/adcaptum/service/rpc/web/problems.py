"""Errors of calls -> problems of HTTP (RFC 9457)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from starlette.responses import Response

from adcaptum.service.errors import Reason
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.local.calls import CallFailed

CLIENT_CLOSED: Final = 499
"""The status of a request whose client has gone, which nobody sees but in logs of proxies."""

STATUSES: Final[Mapping[grpc.StatusCode, int]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.OUT_OF_RANGE: 400,
        grpc.StatusCode.FAILED_PRECONDITION: 400,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ABORTED: 409,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.CANCELLED: CLIENT_CLOSED,
        grpc.StatusCode.UNIMPLEMENTED: 501,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }
)
"""The status of HTTP of each code; 500 for all others."""

TOO_LARGE: Final = 413
MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP tells it.

    Attributes:
        status: The status of HTTP.
        detail: The explanation, for people.
        code: The name of gRPC's code.
        reason: The reason, for programs.
        request_id: The id of the request in the server's log.
        violations: The fields that are wrong.
        metadata: Numbers and names that programs need beside the reason.
        retry_seconds: The time after which to try again; None: never.
    """

    status: int
    detail: str
    code: str = ""
    reason: str = ""
    request_id: str = ""
    violations: tuple[dict[str, str], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_seconds: float | None = None

    @classmethod
    def of(cls, failed: CallFailed) -> "Problem":
        """Makes one of the error of a call."""
        found: dict[str, Any] = {"request_id": failed.trailing.get(ID_KEY, "")}
        for detail in status_pb2.Status.FromString(failed.details).details:
            found |= _detail(detail)
        status = STATUSES.get(failed.code, 500)
        if found.get("reason") == Reason.REQUEST_TOO_LARGE:
            status = TOO_LARGE
        return cls(status, failed.message, failed.code.name, **found)

    def content(self) -> dict[str, Any]:
        """Returns it as JSON."""
        found: dict[str, Any] = {
            "title": HTTPStatus(self.status).phrase if self.status != CLIENT_CLOSED else "Gone",
            "status": self.status,
            "detail": self.detail,
        }
        facts = {
            "code": self.code,
            "reason": self.reason,
            "violations": [*self.violations],
            "metadata": dict(self.metadata),
            "request_id": self.request_id,
        }
        return found | {key: value for key, value in facts.items() if value}

    def headers(self) -> dict[str, str]:
        """Returns the headers that go with it."""
        found = {}
        if self.request_id:
            found[ID_KEY] = self.request_id
        if self.retry_seconds is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_seconds)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["www-authenticate"] = "Bearer"
        return found

    def response(self) -> Response:
        """Returns it as an answer."""
        return Response(
            json.dumps(self.content(), ensure_ascii=False),
            self.status,
            self.headers(),
            media_type=MEDIA_TYPE,
        )


def _detail(detail: Any) -> dict[str, Any]:
    """Returns what a detail of a status says."""
    info = error_details_pb2.ErrorInfo()
    if detail.Unpack(info):
        return {"reason": info.reason, "metadata": dict(info.metadata)}
    bad = error_details_pb2.BadRequest()
    if detail.Unpack(bad):
        return {
            "violations": tuple(
                {"field": each.field, "description": each.description}
                for each in bad.field_violations
            )
        }
    retry = error_details_pb2.RetryInfo()
    if detail.Unpack(retry):
        return {"retry_seconds": retry.retry_delay.ToNanoseconds() / 1e9}
    of_request = error_details_pb2.RequestInfo()
    if detail.Unpack(of_request):
        return {"request_id": of_request.request_id}
    return {}
