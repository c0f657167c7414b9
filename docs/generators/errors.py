"""The page of the errors, from the table of reasons and their status codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from adcaptum.service.errors import Reason
from adcaptum.service.rpc.error_answers import CODES
from docs.generators.markdown import table

MEANINGS: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "The request is wrong. Change it.",
    "NOT_FOUND": "The request is addressed to something that does not exist.",
    "FAILED_PRECONDITION": "The model cannot answer it, however often it is asked.",
    "UNAUTHENTICATED": "The server has to know who calls. Send a valid API key or token.",
    "PERMISSION_DENIED": "The credentials are valid, but not for this. Ask the operator for the "
    "role.",
    "UNAVAILABLE": "The server or the model does not serve at the moment. Try again after "
    "`RetryInfo.retry_delay`; the Python client does.",
    "ABORTED": "Another call came before this one. Read what there is now, and decide again.",
    "ALREADY_EXISTS": "The call contradicts an earlier one. Change it.",
    "RESOURCE_EXHAUSTED": "There is no room at the moment. Try again after "
    "`RetryInfo.retry_delay`.",
    "DEADLINE_EXCEEDED": "There is no time. Give more, or ask for less.",
    "CANCELLED": "The caller went away. Only logs and metrics show it.",
    "INTERNAL": "A fault of the server. Its log has the rest under the request's id.",
}
"""Meaning of the status codes."""

DETAILS: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "`BadRequest`: path of the field, the value, what is allowed",
    "NOT_FOUND": "`ResourceInfo`; metadata `nearest`: names that look like it",
    "FAILED_PRECONDITION": "`PreconditionFailure`: the reason and the model",
    "UNAUTHENTICATED": "",
    "PERMISSION_DENIED": "metadata `role`, and `model` where the call is about one",
    "UNAVAILABLE": "`RetryInfo`",
    "ABORTED": "",
    "ALREADY_EXISTS": "",
    "RESOURCE_EXHAUSTED": "`RetryInfo`; metadata `limit`: the limit that is reached; with QUOTA "
    "also `QuotaFailure`",
    "DEADLINE_EXCEEDED": "metadata `needed_seconds`, with DEADLINE_TOO_SHORT",
    "CANCELLED": "",
    "INTERNAL": "",
}
"""Details beside ErrorInfo and RequestInfo, by status code."""

CAUSES: Final[Mapping[Reason, str]] = {
    Reason.FIELD_INVALID: "A field has a value that is not allowed, or lacks one that is required.",
    Reason.FIELD_UNKNOWN: "The request has a field that this server does not know: it is mistyped, "
    "or the server is older than the client. `GetServer` says what may be sent.",
    Reason.REQUEST_UNREADABLE: "The bytes are no such message.",
    Reason.REQUEST_TOO_LARGE: "The request exceeds a bound: 64 KiB beside the data of its tensors, "
    "64 tensors of a kind.",
    Reason.METHOD_UNKNOWN: "There is no such method; the nearest names are given.",
    Reason.PARAMETER_UNKNOWN: "The method has no such parameter.",
    Reason.LAYER_UNKNOWN: "The model has no layer of that name or alias.",
    Reason.LABEL_UNKNOWN: "The model has no such label.",
    Reason.BASELINE_UNKNOWN: "The input has no baseline of that name.",
    Reason.PRESET_UNKNOWN: "The model has no such preset.",
    Reason.BUDGET_TOO_SMALL: "The method has no estimate within `budget.max_rows`; the rows "
    "that it needs are given.",
    Reason.MODEL_NOT_FOUND: "There is no such model.",
    Reason.VERSION_NOT_FOUND: "The model has no such version.",
    Reason.ALIAS_NOT_FOUND: "The model has no such alias.",
    Reason.MODEL_FAILED: "The model could not be loaded; GetModel and the log say why.",
    Reason.MODEL_RAISED: "The model's own code raised an error on these inputs; the log has it "
    "under the request's id.",
    Reason.METHOD_UNSUPPORTED: "The model cannot run the method, such as one that needs gradients "
    "where there are none. ListMethods with the model says so beforehand.",
    Reason.MODEL_LOADING: "The model is still loading.",
    Reason.WORKER_LOST: "The worker process of the request ended, and none could take over.",
    Reason.REQUEST_QUARANTINED: "The request ended two worker processes, or equals one that did.",
    Reason.MODEL_QUARANTINED: "The model ended worker processes repeatedly; reload or restart.",
    Reason.ADMIN_REFUSED: "The server has neither credentials nor the setting `admin_calls`, or no "
    "workers to replace.",
    Reason.CREDENTIALS_MISSING: "The call has no metadata `authorization`, nor a certificate that "
    "the server knows.",
    Reason.CREDENTIALS_INVALID: "The key or the token is unknown, wrong, expired or not for this "
    "server; the answer does not say which of these, the server's metrics do.",
    Reason.ROLE_MISSING: "The caller lacks the role that the call needs, for this model or for "
    "all.",
    Reason.MODEL_UNLOADED: "The model, or the version, was unloaded; LoadModel brings it back.",
    Reason.VERSION_IN_USE: "The version cannot be unloaded: an alias or `default_version` names "
    "it, or no other one serves.",
    Reason.REPOSITORY_UNWRITABLE: "The repository cannot be written to, so that a change of "
    "aliases would not outlive the server.",
    Reason.ALIAS_MOVED: "The alias is not where `expected_version` says.",
    Reason.KEY_REUSED: "The `idempotency_key` came with another request before.",
    Reason.MODEL_STUCK: "A batch of the model has not returned for `stuck_seconds`.",
    Reason.DRAINING: "The server stops, and takes no more requests.",
    Reason.QUEUE_FULL: "All callers together have as many requests, rows or bytes in flight as the "
    "server takes.",
    Reason.QUOTA: "This caller has as many requests, rows or bytes in flight as one may have, or "
    "has used its seconds of the device.",
    Reason.DEADLINE_TOO_SHORT: "No answer is possible in time; the request is refused at once.",
    Reason.DEADLINE_PASSED: "The deadline came before the answer.",
    Reason.CANCELLED: "The caller cancelled the call.",
    Reason.INTERNAL: "The server failed.",
}
"""Cause of each reason."""


def errors_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Errors"
    yield ""
    yield (
        "Every error is a `google.rpc.Status` in the metadata key `grpc-status-details-bin`, with "
        "`ErrorInfo` (domain `adcaptum`, a *reason*, and metadata) and `RequestInfo` (the id of "
        "the request in the server's log). Programs go by the reason; messages are for people and "
        "may change. Reasons are only ever added, and none changes its status."
    )
    yield ""
    yield (
        "One method that fails does not fail the others: its `MethodResult.failure` has the code, "
        "the reason and the message, `stop_reason` is FAILED, and the others have their results. A "
        "call in which every method fails ends with the status of the first. What is wrong in the "
        "request itself refuses the whole call."
    )
    yield ""
    yield (
        "Calls of ExplanationService compute and change nothing, so that repeating them is safe. "
        "Repeat UNAVAILABLE, and RESOURCE_EXHAUSTED after its delay, and nothing else. The Python "
        "client raises an error of [its tree](client.md) with the `reason`."
    )
    codes = dict.fromkeys(CODES[reason].name for reason in Reason)
    for code in codes:
        yield f"\n## {code}\n"
        yield MEANINGS[code]
        if DETAILS[code]:
            yield f"\nDetails: {DETAILS[code]}."
        yield ""
        yield from table(
            ("reason", "cause"),
            ((f"`{reason}`", CAUSES[reason]) for reason in Reason if CODES[reason].name == code),
        )
