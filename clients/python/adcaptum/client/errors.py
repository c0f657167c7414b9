"""Errors of calls.

AdcaptumError
  + InvalidRequest      a field of the request is wrong; a retry cannot help
  + NotFound            the model, version or alias does not exist
  + FailedPrecondition  the model failed, raised an error, or cannot run the method
  + Conflict            an alias has moved meanwhile, or a key is reused
  + Unauthenticated     credentials are missing or wrong
  + PermissionDenied    the credentials do not allow it
  + ResourceExhausted   the server has too much work
  + DeadlineExceeded    the timeout passed
  + Cancelled           this side ended the call
  + Unavailable         no server, or one that is loading or draining
  + Unimplemented       the server lacks the call
  + Internal            the server failed

The ``__cause__`` of each is the gRPC error.
"""

from collections.abc import Mapping
from dataclasses import dataclass


class AdcaptumError(Exception):
    """Base class of the errors of calls.

    Attributes:
        message: The explanation, for people.
        reason: The reason, for programs, such as ``MODEL_NOT_FOUND``; proto/README.md lists all.
            Empty if the call did not reach an adcaptum server.
        metadata: Further facts of the reason, by name.
        request_id: The id under which the server logged the call; empty if the call did not reach
            the server.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """An invalid field of a request.

    Attributes:
        field: The field's path, as the protocol names it, such as ``spec.targets[0].label``.
        description: The fault, and what is allowed.
    """

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidRequest(AdcaptumError):
    """A field of the request is wrong or unknown, also a name of a method, layer, label or preset.

    The server raises it, or the client before it sends anything.

    Attributes:
        violations: The faults, field by field; may be empty.
    """

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        reason: str = "FIELD_INVALID",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.violations = violations

    def __str__(self) -> str:
        # A server may repeat a violation in its message.
        new = [str(each) for each in self.violations if each.description not in self.message]
        return "; ".join([self.message, *new])


class NotFound(AdcaptumError):
    """The model, version or alias does not exist.

    Attributes:
        resource_type: The kind of the missing resource: model, version or alias; empty if unknown.
        resource_name: The missing name; empty if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        resource_type: str = "",
        resource_name: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.resource_type = resource_type
        self.resource_name = resource_name

    @property
    def nearest(self) -> tuple[str, ...]:
        """Existing names that look like the missing one, best first."""
        return tuple(name for name in self.metadata.get("nearest", "").split(", ") if name)


class FailedPrecondition(AdcaptumError):
    """The model failed to load, raised an error on these inputs, or cannot run the method.

    The reason tells which: ``MODEL_FAILED``, ``MODEL_RAISED`` or ``METHOD_UNSUPPORTED``. A retry
    cannot help.

    Attributes:
        subject: The name of the model; empty if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        subject: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.subject = subject


class Conflict(AdcaptumError):
    """The call contradicts another one.

    The reason tells which: ``ALIAS_MOVED`` (the alias is not where it was expected) or
    ``KEY_REUSED`` (the idempotency key came with another call).
    """


class Unauthenticated(AdcaptumError):
    """Credentials are missing or wrong."""


class PermissionDenied(AdcaptumError):
    """The credentials do not allow this call."""


class _Retryable(AdcaptumError):
    """An error after which a retry may help.

    Attributes:
        retry_after_s: Seconds to wait before a retry; None if the server gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, request_id=request_id)
        self.retry_after_s = retry_after_s


class ResourceExhausted(_Retryable):
    """The server's queue or the caller's share of it is full, or a message is too large.

    Attributes:
        retry_after_s: Seconds to wait before a retry; None if the server gave none: waiting may
            then not help.
    """


class DeadlineExceeded(AdcaptumError):
    """The timeout passed, or the server predicted that it would not suffice."""

    @property
    def needed_seconds(self) -> float | None:
        """Seconds that an answer is expected to take; None if unknown."""
        try:
            return float(self.metadata["needed_seconds"])
        except (KeyError, ValueError):
            return None


class Cancelled(AdcaptumError):
    """This side ended the call: the client was closed while it ran."""


class Unavailable(_Retryable):
    """No server answered, or the model is loading, or the server is draining.

    The client retries before it raises this; see its ``max_attempts``.

    Attributes:
        retry_after_s: Seconds to wait before a retry; None if unknown.
    """


class Unimplemented(AdcaptumError):
    """The server lacks this call: it is older than the client, or a different service."""


class Internal(AdcaptumError):
    """The server failed through no fault of the request; its log has ``request_id``."""
