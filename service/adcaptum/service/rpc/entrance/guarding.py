"""Guards as the frame of calls sees them: who calls, and what the caller may do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from adcaptum.service.rpc.calls import host_of
from adcaptum.service.rpc.messages import Context

Facts = Mapping[str, Sequence[bytes]]


class Visitor(Protocol):
    """A caller whose credentials are good, on one call.

    Attributes:
        caller: The name under which its requests are counted and take turns.
        most_rows: The most rows that it may have under way; None: any.
    """

    @property
    def caller(self) -> str: ...

    @property
    def most_rows(self) -> int | None: ...

    def authorise(self, raw: bytes) -> None:
        """Checks that the caller may make this request, and has something left of its quota.

        Args:
            raw: The serialised request.

        Raises:
            ServiceError: It may not, or has not.
        """

    def show(self, answer: Any) -> None:
        """Takes out of an answer that of which the caller may not know."""

    def leave(self, seconds: float) -> None:
        """Ends the call.

        Args:
            seconds: The seconds of the device that its answer took.
        """


class Guard(Protocol):
    """The rule of who may call."""

    async def identify(
        self,
        method: str,
        metadata: Iterable[tuple[str, str | bytes]],
        host: str,
        certificate: Callable[[], Facts],
    ) -> Visitor | None:
        """Returns who makes a call; None if everybody may make it.

        Args:
            method: The service and the method.
            metadata: What came with the call.
            host: The address that it comes from.
            certificate: Returns the facts of the caller's certificate.

        Raises:
            ServiceError: The call is refused.
        """


class Audit(Protocol):
    """Where administrative calls are noted."""

    def note(self, method: str, caller: str, request_id: str, request: Any, result: str) -> None:
        """Writes a line about a call, if it is administrative.

        Args:
            method: The service and the method.
            caller: Who made it.
            request_id: Its id in the server's log.
            request: Its message; None: it was not read.
            result: The name of its status code.
        """


async def visitor_of(guard: Guard | None, method: str, context: Context) -> Visitor | None:
    """Returns who makes a call; None if there is no guard, or everybody may make it.

    Args:
        guard: The guard.
        method: The service and the method.
        context: The call.

    Raises:
        ServiceError: The call is refused.
    """
    if guard is None:
        return None
    metadata = context.invocation_metadata() or ()
    return await guard.identify(method, metadata, host_of(context.peer()), lambda: _facts(context))


def shown(visitor: Visitor | None, answer: Any) -> Any:
    """Returns an answer without that of which its caller may not know."""
    if visitor is not None:
        visitor.show(answer)
    return answer


def _facts(context: Context) -> Facts:
    return cast("Facts", context.auth_context())
