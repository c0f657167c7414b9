"""Failures: the error of a method beside results of others -> its message."""

from adcaptum.service.answers import codes, statuses
from adcaptum.service.errors import InvalidRequest
from adcaptum.v1 import explanation_pb2


def write(into: explanation_pb2.Failure, error: Exception, method: int, request_id: str) -> None:
    """Writes a failure.

    Args:
        into: An empty message.
        error: The error.
        method: The place of the method in the request.
        request_id: The id under which the log has what callers do not see.
    """
    known = statuses.as_service_error(error)
    reason = statuses.reason(error)
    into.code = codes.CODES[reason]
    into.reason = reason
    into.message = statuses.message(error, request_id)
    into.field = f"spec.methods[{method}]"
    if isinstance(known, InvalidRequest) and known.violations[0].field.startswith("spec."):
        into.field = known.violations[0].field
