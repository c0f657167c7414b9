"""Errors of calls.

AdcaptumError
  + InvalidRequest      the request is wrong; a retry cannot help
  + NotFound            the model, version, method or layer does not exist
  + Unauthenticated     credentials are missing or wrong
  + PermissionDenied    the credentials do not allow it
  + ResourceExhausted   the server has too much work
  + DeadlineExceeded    the timeout passed
  + Cancelled           this side ended the call
  + Unavailable         no server, or one that is loading or draining
  + Unsupported         the server lacks the call
  + Internal            the server failed

The ``__cause__`` of each is the gRPC error.
"""

from dataclasses import dataclass


class AdcaptumError(Exception):
    """Base class of the errors of calls.

    Attributes:
        message: The reason, for people.
        request_id: The id under which the server logged the call; empty if the call did not
            reach the server.
    """

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """An invalid field of a request.

    Attributes:
        field: The field of the request, as the protocol names it, such as ``target.indices``.
        description: The fault, and what is allowed.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidRequest(AdcaptumError):
    """The request is wrong; raised by the server, or by the client before it sends anything.

    Attributes:
        violations: The faults, field by field; may be empty.
    """

    def __init__(
        self, message: str, *, violations: tuple[FieldViolation, ...] = (), request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.violations = violations

    def __str__(self) -> str:
        # A server may repeat a violation in its message.
        new = [str(each) for each in self.violations if each.description not in self.message]
        return "; ".join([self.message, *new])


class NotFound(AdcaptumError):
    """The model, version, method or layer does not exist; the message has the nearest names.

    Attributes:
        resource_type: The kind of the missing resource; empty if unknown.
        resource_name: The missing name; empty if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        resource_type: str = "",
        resource_name: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.resource_type = resource_type
        self.resource_name = resource_name


class Unauthenticated(AdcaptumError):
    """Credentials are missing or wrong."""


class PermissionDenied(AdcaptumError):
    """The credentials do not allow this call."""


class ResourceExhausted(AdcaptumError):
    """The server's queue is full, or a message is too large.

    Attributes:
        retry_after_s: Seconds to wait before a retry; None if the server gave none: waiting may
            then not help.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(AdcaptumError):
    """The timeout passed, or the server predicted that it would not suffice."""


class Cancelled(AdcaptumError):
    """This side ended the call: the client was closed while it ran."""


class Unavailable(AdcaptumError):
    """No server answered, or the model is loading, or the server is draining.

    The client retries before it raises this; see its ``max_attempts``.

    Attributes:
        retry_after_s: Seconds to wait before a retry; None if unknown.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class Unsupported(AdcaptumError):
    """The server lacks this call: it is older than the client, or a different service."""


class Internal(AdcaptumError):
    """The server failed through no fault of the request; its log has ``request_id``."""
