"""Answers of workers that are errors, passed on as they are; and the loss of a worker."""

from collections.abc import Iterable
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.service.errors import Reason
from adcaptum.service.rpc.error_answers import DETAILS_KEY, Answer

LOSSES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
"""The codes with which gRPC tells that a connection has ended."""


class WorkerAnswer(Exception):
    """An error that a worker answered.

    Attributes:
        answer: Its status.
        reason: Its reason; empty if the status has none.
    """

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        Exception.__init__(self, error.details() or error.code().name)
        details = _details(error)
        self.answer = Answer(error.code(), error.details() or "", details)
        self.reason = _reason(details)


def is_loss(error: grpc.aio.AioRpcError | None) -> bool:
    """Returns whether a call ended without an answer of the worker.

    Args:
        error: Its error; None: it was cancelled with its connection.
    """
    return error is None or (error.code() in LOSSES and not _details(error))


def is_draining(answer: WorkerAnswer) -> bool:
    """Returns whether a worker has refused a request because it stops."""
    return answer.reason == Reason.DRAINING


def _details(error: grpc.aio.AioRpcError) -> bytes:
    pairs: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()
    found = dict(pairs).get(DETAILS_KEY, b"")
    return found if isinstance(found, bytes) else found.encode()


def _reason(details: bytes) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""
