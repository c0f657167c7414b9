"""What can go wrong in a request, named by what happened and not by how a protocol says it.

A request meets these in order: `Unavailable` (draining, loading), `NotFound`, `InvalidRequest` and
`TooBusy` (all at admission), `DeadlineExceeded` and `Cancelled` (any time after that). Everything
else that is raised is a fault of ours or of the model. `status` holds the one table from `Kind` to
what goes over the wire.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from adcaptum.service.nearest import did_you_mean, nearest, shortened


class Kind(enum.Enum):
    """What sort of thing happened, for whoever has to answer it."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request.

    Attributes:
        field: Where, as a path such as `inputs[0].shape`.
        description: The value that was sent and what is allowed.
    """

    field: str
    description: str


class ServiceError(Exception):
    """Something that a caller is told."""

    kind: Kind

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message


class InvalidRequest(ServiceError, ValueError):
    """The request says something that is not allowed."""

    kind = Kind.INVALID

    def __init__(self, field: str, description: str) -> None:
        ServiceError.__init__(self, f"{field}: {description}")
        self.violations = (Violation(field, description),)


class NotFound(ServiceError, LookupError):
    """The request names something that does not exist.

    Attributes:
        resource: What it would have been, such as "model".
        name: What was asked for.
        nearest: Names that exist and look like it, best first.
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
    """The server has as much work as it takes; to be tried again after `retry_s` seconds.

    Attributes:
        reason: What there is too much of, for the metrics: requests, rows or bytes, of all callers
            or, with `caller_` before it, of this one.
    """

    kind = Kind.BUSY

    def __init__(self, message: str, *, retry_s: float, reason: str) -> None:
        ServiceError.__init__(self, message)
        self.retry_s = retry_s
        self.reason = reason


class DeadlineExceeded(ServiceError):
    """The caller's deadline came first."""

    kind = Kind.DEADLINE


class TooLate(DeadlineExceeded):
    """There cannot be an answer before the deadline: the request is refused at once."""


class Unavailable(ServiceError):
    """The server, or the model, does not serve now."""

    kind = Kind.UNAVAILABLE

    def __init__(self, message: str, *, retry_s: float = 1.0) -> None:
        ServiceError.__init__(self, message)
        self.retry_s = retry_s


class Cancelled(ServiceError):
    """The caller went away."""

    kind = Kind.CANCELLED


class Unsupported(ServiceError):
    """The model cannot do what was asked, whatever the parameters."""

    kind = Kind.UNSUPPORTED
