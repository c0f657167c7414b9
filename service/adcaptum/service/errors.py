"""Errors of requests, independent of any protocol.

A request meets these in order: `Unavailable` (draining, loading), `NotFound`, `InvalidRequest` and
`TooBusy` (all at admission), `DeadlineExceeded` and `Cancelled` (any time after that). Any other
exception is a fault of the server or of the model. `status` holds the one table from `Kind` to
status codes.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from adcaptum.service.nearest import did_you_mean, nearest, shortened


class Kind(enum.Enum):
    """Kinds of errors, each with one status code in a protocol."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"
    UNSUPPORTED = "unsupported"


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
    """An error that is sent to the caller."""

    kind: Kind

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message


class InvalidRequest(ServiceError, ValueError):
    """A field of the request has a value that is not allowed."""

    kind = Kind.INVALID

    def __init__(self, field: str, description: str) -> None:
        ServiceError.__init__(self, f"{field}: {description}")
        self.violations = (Violation(field, description),)


class NotFound(ServiceError, LookupError):
    """The request names a thing that does not exist.

    Attributes:
        resource: The kind of the thing, such as "model".
        name: The name in the request.
        nearest: Existing names that look like it, best first.
    """

    kind = Kind.NOT_FOUND

    def __init__(self, resource: str, name: str, known: Iterable[str]) -> None:
        names = tuple(known)
        message = f"There is no {resource} {shortened(name)}. {did_you_mean(name, names)}"
        ServiceError.__init__(self, message)
        self.resource = resource
        self.name = name[:200]
        self.nearest = nearest(name, names)


class TooBusy(ServiceError):
    """The server has as much work as it accepts; try again after `retry_s` seconds.

    Attributes:
        reason: The exhausted resource, for the metrics: requests, rows or bytes, of all callers
            or, with `caller_` before it, of this one.
    """

    kind = Kind.BUSY

    def __init__(self, message: str, *, retry_s: float, reason: str) -> None:
        ServiceError.__init__(self, message)
        self.retry_s = retry_s
        self.reason = reason


class DeadlineExceeded(ServiceError):
    """The caller's deadline came before the answer."""

    kind = Kind.DEADLINE


class TooLate(DeadlineExceeded):
    """No answer is possible before the deadline; the request is refused at once."""


class Unavailable(ServiceError):
    """The server or the model does not serve at the moment."""

    kind = Kind.UNAVAILABLE

    def __init__(self, message: str, *, retry_s: float = 1.0) -> None:
        ServiceError.__init__(self, message)
        self.retry_s = retry_s


class Cancelled(ServiceError):
    """The caller went away."""

    kind = Kind.CANCELLED


class Unsupported(ServiceError):
    """The model cannot run the request, whatever its parameters."""

    kind = Kind.UNSUPPORTED
