"""Errors, of the engine too -> reasons and texts for callers."""

from adcaptum.engine.errors import BudgetExceeded, EngineError, InvalidArgument, ModelError
from adcaptum.service.answers.codes import bounded
from adcaptum.service.errors import InvalidRequest, ModelRaised, Reason, ServiceError, Unsupported
from adcaptum.service.nearest import shortened


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
