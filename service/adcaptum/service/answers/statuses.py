"""Errors -> codes, reasons and texts: the one table from reasons to status codes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.rpc import code_pb2  # type: ignore[import-untyped]

from adcaptum.engine.errors import BudgetExceeded, EngineError, InvalidArgument, ModelError
from adcaptum.service.errors import InvalidRequest, ModelRaised, Reason, ServiceError, Unsupported
from adcaptum.service.nearest import shortened

MOST_BYTES: Final = 1000
"""The longest text of a status, which has it twice; clients take 8 KiB of metadata."""

CODES: Final[Mapping[Reason, int]] = MappingProxyType(
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
            code_pb2.INVALID_ARGUMENT,
        ),
        **dict.fromkeys(
            (Reason.MODEL_NOT_FOUND, Reason.VERSION_NOT_FOUND, Reason.ALIAS_NOT_FOUND),
            code_pb2.NOT_FOUND,
        ),
        **dict.fromkeys(
            (Reason.MODEL_FAILED, Reason.MODEL_RAISED, Reason.METHOD_UNSUPPORTED),
            code_pb2.FAILED_PRECONDITION,
        ),
        **dict.fromkeys(
            (Reason.MODEL_LOADING, Reason.MODEL_STUCK, Reason.DRAINING),
            code_pb2.UNAVAILABLE,
        ),
        Reason.QUEUE_FULL: code_pb2.RESOURCE_EXHAUSTED,
        Reason.QUOTA: code_pb2.RESOURCE_EXHAUSTED,
        Reason.DEADLINE_TOO_SHORT: code_pb2.DEADLINE_EXCEEDED,
        Reason.DEADLINE_PASSED: code_pb2.DEADLINE_EXCEEDED,
        Reason.CANCELLED: code_pb2.CANCELLED,
        Reason.INTERNAL: code_pb2.INTERNAL,
    }
)
"""The code of each reason, a number of `google.rpc.Code`."""


def reason(error: Exception) -> Reason:
    """Returns the reason of an error, for programs."""
    known = as_service_error(error)
    return Reason.INTERNAL if known is None else known.reason


def message(error: Exception, request_id: str) -> str:
    """Returns the text of an error for callers.

    Args:
        error: The error.
        request_id: The id under which the log has the rest of an error whose text is hidden.
    """
    known = as_service_error(error)
    if known is None or isinstance(known, ModelRaised):
        who = "The server failed" if known is None else "The model raised an error"
        return f"{who}; the server's log says more under request id {request_id}."
    return bounded(known.message)


def is_hidden(error: Exception) -> bool:
    """Returns whether callers never see the text of an error, so that the log has to have it."""
    known = as_service_error(error)
    return known is None or isinstance(known, ModelRaised)


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
