"""Errors, those of the engine and faults too -> gRPC statuses."""

from typing import Final

import grpc

from adcaptum.service.answers import statuses
from adcaptum.service.answers.statuses import as_service_error
from adcaptum.service.rpc import error_answers
from adcaptum.service.rpc.error_answers import CODES, Answer, ErrorTable


def answer(error: Exception, request_id: str) -> Answer:
    """Returns the status of `error`; a fault's has only the id of the request."""
    reason, message = statuses.reason(error), statuses.message(error, request_id)
    return error_answers.told(as_service_error(error), reason, message, request_id)


def code(error: Exception) -> grpc.StatusCode:
    """Returns the status code for `error`."""
    return CODES[statuses.reason(error)]


TABLE: Final = ErrorTable(answer, code, statuses.reason, statuses.is_hidden)
"""The statuses of a server that runs models itself."""
