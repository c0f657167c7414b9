"""Errors of requests, independent of any protocol.

A request meets these in order: `Unauthenticated` and `PermissionDenied` (before it is decoded),
`Unavailable` and `ModelFailed` (draining, loading), `NotFound`, `InvalidRequest` and `TooBusy` (all
at admission), `DeadlineExceeded`, `ModelRaised` and `Cancelled` (any time after that). Any other
exception is a fault of the server. `answers/codes.py` holds the one table from reasons to status
codes.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from adcaptum.service.nearest import did_you_mean, nearest, shortened


class Reason(enum.StrEnum):
    """Reasons of errors: a part of the contract, to which reasons may only be added."""

    FIELD_INVALID = "FIELD_INVALID"
    FIELD_UNKNOWN = "FIELD_UNKNOWN"
    REQUEST_UNREADABLE = "REQUEST_UNREADABLE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    PARAMETER_UNKNOWN = "PARAMETER_UNKNOWN"
    LAYER_UNKNOWN = "LAYER_UNKNOWN"
    LABEL_UNKNOWN = "LABEL_UNKNOWN"
    BASELINE_UNKNOWN = "BASELINE_UNKNOWN"
    PRESET_UNKNOWN = "PRESET_UNKNOWN"
    BUDGET_TOO_SMALL = "BUDGET_TOO_SMALL"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    ALIAS_NOT_FOUND = "ALIAS_NOT_FOUND"
    MODEL_FAILED = "MODEL_FAILED"
    MODEL_RAISED = "MODEL_RAISED"
    METHOD_UNSUPPORTED = "METHOD_UNSUPPORTED"
    MODEL_LOADING = "MODEL_LOADING"
    MODEL_STUCK = "MODEL_STUCK"
    DRAINING = "DRAINING"
    WORKER_LOST = "WORKER_LOST"
    REQUEST_QUARANTINED = "REQUEST_QUARANTINED"
    MODEL_QUARANTINED = "MODEL_QUARANTINED"
    ADMIN_REFUSED = "ADMIN_REFUSED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    ROLE_MISSING = "ROLE_MISSING"
    MODEL_UNLOADED = "MODEL_UNLOADED"
    VERSION_IN_USE = "VERSION_IN_USE"
    REPOSITORY_UNWRITABLE = "REPOSITORY_UNWRITABLE"
    ALIAS_MOVED = "ALIAS_MOVED"
    KEY_REUSED = "KEY_REUSED"
    QUEUE_FULL = "QUEUE_FULL"
    QUOTA = "QUOTA"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation of the rules for requests.

    Attributes:
        field: The path of the field, such as `inputs[0].shape`.
        description: The value that was sent, and the values that are allowed.
    """

    field: str
    description: str


class ServiceError(Exception):
    """An error that is sent to the caller.

    Attributes:
        reason: The reason, for programs.
        message: The explanation, for people.
    """

    reason: Reason

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message


class InvalidRequest(ServiceError, ValueError):
    """A field of the request has a value that is not allowed, or is unknown."""

    def __init__(
        self, field: str, description: str, *, reason: Reason = Reason.FIELD_INVALID
    ) -> None:
        # The request itself has an empty path.
        ServiceError.__init__(self, f"{field}: {description}" if field else description)
        self.reason = reason
        self.violations = (Violation(field, description),)

    @classmethod
    def unknown(
        cls, field: str, name: str, known: Iterable[str], reason: Reason
    ) -> "InvalidRequest":
        """Returns the error of a field that names something that does not exist.

        Args:
            field: The path of the field.
            name: The name in the request.
            known: The names that exist.
            reason: The reason, such as METHOD_UNKNOWN.
        """
        noun = reason.removesuffix("_UNKNOWN").lower()
        text = f"{shortened(name)}: there is no such {noun}. {did_you_mean(name, known)}"
        return cls(field, text, reason=reason)


class NotFound(ServiceError, LookupError):
    """The request is addressed to a thing that does not exist.

    Attributes:
        resource: The kind of the thing: model, version or alias.
        name: The name in the request.
        nearest: Existing names that look like it, best first.
    """

    def __init__(self, resource: str, name: str, known: Iterable[str]) -> None:
        names = tuple(known)
        message = f"There is no {resource} {shortened(name)}. {did_you_mean(name, names)}"
        ServiceError.__init__(self, message)
        self.reason = Reason[f"{resource.upper()}_NOT_FOUND"]
        self.resource = resource
        self.name = name[:200]
        self.nearest = nearest(name, names)


class FailedPrecondition(ServiceError):
    """The model is in no state, or of no kind, to answer the request; a retry cannot help.

    Attributes:
        subject: The name of the model.
    """

    def __init__(self, message: str, *, subject: str = "") -> None:
        ServiceError.__init__(self, message)
        self.subject = subject


class ModelFailed(FailedPrecondition):
    """The model could not be loaded."""

    reason = Reason.MODEL_FAILED


class ModelRaised(FailedPrecondition):
    """The model's own code raised an error on these inputs, the `__cause__` of this one.

    Callers see neither its text nor its trace; the log has both.
    """

    reason = Reason.MODEL_RAISED

    def __init__(self, *, subject: str) -> None:
        FailedPrecondition.__init__(self, "The model raised an error.", subject=subject)


class Unsupported(FailedPrecondition):
    """The model cannot run the method, whatever its parameters."""

    reason = Reason.METHOD_UNSUPPORTED


class Quarantined(FailedPrecondition):
    """The request, or the model that it names, ended worker processes and is refused."""

    def __init__(self, message: str, *, reason: Reason, subject: str) -> None:
        FailedPrecondition.__init__(self, message, subject=subject)
        self.reason = reason


class AdminRefused(FailedPrecondition):
    """The server answers no administrative calls, or not this one."""

    reason = Reason.ADMIN_REFUSED


class Unauthenticated(ServiceError):
    """The caller shows no credentials, or none that are good; which part is wrong is not said."""

    def __init__(self, *, is_missing: bool) -> None:
        if is_missing:
            text = "Credentials are required: metadata `authorization: Bearer KEY_OR_TOKEN`."
        else:
            text = "The credentials are not valid."
        ServiceError.__init__(self, text)
        self.reason = Reason.CREDENTIALS_MISSING if is_missing else Reason.CREDENTIALS_INVALID


class PermissionDenied(ServiceError):
    """The caller's credentials are good, but do not allow the call.

    Attributes:
        role: The role that they lack.
        model: The model for which they lack it; empty: the call is about no single one.
    """

    reason = Reason.ROLE_MISSING

    def __init__(self, *, role: str, model: str = "") -> None:
        of = f" for model {shortened(model)}" if model else ""
        ServiceError.__init__(self, f"These credentials do not have the role {role}{of}.")
        self.role = role
        self.model = model[:200]


class ModelUnloaded(FailedPrecondition):
    """The version is in the repository and not in memory."""

    reason = Reason.MODEL_UNLOADED


class VersionInUse(FailedPrecondition):
    """The version cannot be unloaded: something names it, or no other one serves."""

    reason = Reason.VERSION_IN_USE


class Unwritable(FailedPrecondition):
    """A change cannot be kept, because the repository cannot be written to."""

    reason = Reason.REPOSITORY_UNWRITABLE


class Conflict(ServiceError):
    """The call contradicts another one: an alias has moved meanwhile, or a key is reused."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        ServiceError.__init__(self, message)
        self.reason = reason


class TooBusy(ServiceError):
    """The server has as much work as it accepts; try again after `retry_s` seconds.

    Attributes:
        limit: The limit that is reached: requests, rows or bytes, of all callers or, with `caller_`
            before it, of this one.
    """

    def __init__(self, message: str, *, retry_s: float, limit: str) -> None:
        ServiceError.__init__(self, message)
        self.reason = Reason.QUOTA if limit.startswith("caller_") else Reason.QUEUE_FULL
        self.retry_s = retry_s
        self.limit = limit


class DeadlineExceeded(ServiceError):
    """The caller's deadline came before the answer."""

    reason = Reason.DEADLINE_PASSED


class TooLate(DeadlineExceeded):
    """No answer is possible before the deadline; the request is refused at once.

    Attributes:
        needed_s: The seconds that an answer is expected to take.
    """

    reason = Reason.DEADLINE_TOO_SHORT

    def __init__(self, message: str, *, needed_s: float) -> None:
        DeadlineExceeded.__init__(self, message)
        self.needed_s = needed_s


class Unavailable(ServiceError):
    """The server or the model does not serve at the moment."""

    def __init__(self, message: str, *, reason: Reason, retry_s: float = 1.0) -> None:
        ServiceError.__init__(self, message)
        self.reason = reason
        self.retry_s = retry_s


class Cancelled(ServiceError):
    """The caller went away."""

    reason = Reason.CANCELLED
