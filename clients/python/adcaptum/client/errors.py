"""What can go wrong with a call.

AdcaptumError
  + InvalidRequest      the request is wrong, and stays wrong when it is sent again
  + NotFound            the model, version, method or layer is not there
  + Unauthenticated     the server wants credentials
  + PermissionDenied    the credentials do not allow it
  + ResourceExhausted   the server has too much to do
  + DeadlineExceeded    the time was not enough
  + Cancelled           the call was ended on this side
  + Unavailable         no server, or one that is loading or draining
  + Unsupported         the server is older than this client
  + Internal            the server failed

The gRPC error that one of them was made from is its ``__cause__``.
"""

from dataclasses import dataclass


class AdcaptumError(Exception):
    """A call did not succeed; every error of this package is one.

    Attributes:
        message: What went wrong, for people.
        request_id: The id under which the server logged the call; empty if it never got there.
    """

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing that is wrong with a request.

    Attributes:
        field: The field of the request, as the protocol names it, such as ``target.indices``.
        description: What is wrong with it and what would be right.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidRequest(AdcaptumError):
    """The request is wrong: raised by the server's checks, or here before anything is sent.

    Attributes:
        violations: What is wrong, field by field; may be empty.
    """

    def __init__(
        self, message: str, *, violations: tuple[FieldViolation, ...] = (), request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.violations = violations

    def __str__(self) -> str:
        # A server may repeat a violation in its message; nobody wants to read it twice.
        new = [str(each) for each in self.violations if each.description not in self.message]
        return "; ".join([self.message, *new])


class NotFound(AdcaptumError):
    """There is no such model, version, method or layer; the message names what is nearest.

    Attributes:
        resource_type: What kind of thing was looked for; empty if the server did not say.
        resource_name: The name that is not there; empty if the server did not say.
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
    """The server wants credentials and got none, or wrong ones."""


class PermissionDenied(AdcaptumError):
    """The credentials are good but do not allow this call."""


class ResourceExhausted(AdcaptumError):
    """The server's queue is full, or a message is too large.

    Attributes:
        retry_after_s: When to try again, in seconds; None if the server did not say, which means
            that waiting may not help.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(AdcaptumError):
    """The timeout passed, or the server saw beforehand that it would not be enough."""


class Cancelled(AdcaptumError):
    """The call was ended on this side: the client was closed while it was under way."""


class Unavailable(AdcaptumError):
    """No server answered, or the model is still loading, or the server is draining.

    Calls are repeated before this is raised; see the client's ``max_attempts``.

    Attributes:
        retry_after_s: When to try again, in seconds; None if nobody said.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class Unsupported(AdcaptumError):
    """The server does not have this call: it is older than this client, or another service."""


class Internal(AdcaptumError):
    """The server failed in a way that is not the request's fault; ``request_id`` finds it."""
