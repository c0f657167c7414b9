"""Reasons -> status codes, and the bound on the texts of errors.

Nothing here needs PyTorch, so that a front without models can answer errors.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.rpc import code_pb2  # type: ignore[import-untyped]

from adcaptum.service.errors import Reason

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
            (
                Reason.MODEL_FAILED,
                Reason.MODEL_RAISED,
                Reason.METHOD_UNSUPPORTED,
                Reason.REQUEST_QUARANTINED,
                Reason.MODEL_QUARANTINED,
                Reason.ADMIN_REFUSED,
                Reason.MODEL_UNLOADED,
                Reason.VERSION_IN_USE,
                Reason.REPOSITORY_UNWRITABLE,
            ),
            code_pb2.FAILED_PRECONDITION,
        ),
        **dict.fromkeys(
            (
                Reason.MODEL_LOADING,
                Reason.MODEL_STUCK,
                Reason.DRAINING,
                Reason.WORKER_LOST,
            ),
            code_pb2.UNAVAILABLE,
        ),
        Reason.CREDENTIALS_MISSING: code_pb2.UNAUTHENTICATED,
        Reason.CREDENTIALS_INVALID: code_pb2.UNAUTHENTICATED,
        Reason.ROLE_MISSING: code_pb2.PERMISSION_DENIED,
        Reason.ALIAS_MOVED: code_pb2.ABORTED,
        Reason.KEY_REUSED: code_pb2.ALREADY_EXISTS,
        Reason.QUEUE_FULL: code_pb2.RESOURCE_EXHAUSTED,
        Reason.QUOTA: code_pb2.RESOURCE_EXHAUSTED,
        Reason.DEADLINE_TOO_SHORT: code_pb2.DEADLINE_EXCEEDED,
        Reason.DEADLINE_PASSED: code_pb2.DEADLINE_EXCEEDED,
        Reason.CANCELLED: code_pb2.CANCELLED,
        Reason.INTERNAL: code_pb2.INTERNAL,
    }
)
"""The code of each reason, a number of `google.rpc.Code`."""


def bounded(text: str) -> str:
    """Returns a text cut to `MOST_BYTES`."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= MOST_BYTES:
        return text
    return f"{encoded[: MOST_BYTES - 3].decode(errors='ignore')}..."
