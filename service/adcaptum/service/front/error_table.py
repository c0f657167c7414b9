"""The errors of a front, its own and those of its workers -> gRPC statuses."""

from typing import Final

import grpc

from adcaptum.service.errors import Reason, ServiceError
from adcaptum.service.front.worker_answer import WorkerAnswer
from adcaptum.service.rpc import error_answers
from adcaptum.service.rpc.error_answers import CODES, Answer, ErrorTable


def answer(error: Exception, request_id: str) -> Answer:
    """Returns the status of an error."""
    if isinstance(error, WorkerAnswer):
        return error.answer
    if isinstance(error, ServiceError):
        return error_answers.answer(error, request_id)
    text = f"The server failed; the server's log says more under request id {request_id}."
    return error_answers.told(None, Reason.INTERNAL, text, request_id)


def code(error: Exception) -> grpc.StatusCode:
    """Returns the status code of an error."""
    return error.answer.code if isinstance(error, WorkerAnswer) else CODES[_reason(error)]


def reason(error: Exception) -> str:
    """Returns the reason of an error, for programs."""
    return error.reason if isinstance(error, WorkerAnswer) else _reason(error)


def is_hidden(error: Exception) -> bool:
    """Returns whether callers never see the text of an error; the worker logs those of its own."""
    return not isinstance(error, WorkerAnswer | ServiceError)


def is_logged(error: Exception) -> bool:
    """Returns whether a worker has logged an error."""
    return isinstance(error, WorkerAnswer)


def _reason(error: Exception) -> Reason:
    return error.reason if isinstance(error, ServiceError) else Reason.INTERNAL


TABLE: Final = ErrorTable(answer, code, reason, is_hidden, is_logged)
"""The statuses of a front."""
