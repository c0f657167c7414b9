"""The context of a call that did not come over gRPC: as much of gRPC's as handlers use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, NoReturn

import grpc

from adcaptum.service.rpc.error_answers import DETAILS_KEY

Metadata = Sequence[tuple[str, str]]
Receive = Callable[[], Awaitable[bytes | None]]
"""Returns the next request of a call, None after the last; may raise the error of a bad one."""

Certificate = Callable[[], Mapping[str, Sequence[bytes]]]
"""Returns the facts of a caller's certificate."""

Send = Callable[[Any], Awaitable[None]]


class Aborted(grpc.aio.AbortError):
    """The end of a call with an error.

    Attributes:
        code: The status code.
        message: Its text.
        trailing: What goes with it, but for the details.
        details: The status details.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, metadata: Sequence[tuple[str, str | bytes]]
    ) -> None:
        grpc.aio.AbortError.__init__(self, message)
        self.code = code
        self.message = message
        self.trailing = {key: each for key, each in metadata if isinstance(each, str)}
        found = dict(metadata).get(DETAILS_KEY, b"")
        assert isinstance(found, bytes), "status details are bytes"
        self.details = found


class LocalContext:
    """The context of a call.

    Attributes:
        trailing: What goes with the answer.
        send: Takes the messages that a handler of a stream writes itself.
    """

    __slots__ = (
        "_certificate",
        "_deadline",
        "_metadata",
        "_peer",
        "_receive",
        "_request",
        "send",
        "trailing",
    )

    def __init__(
        self,
        request: bytes | Receive,
        deadline: float | None,
        metadata: Metadata,
        peer: str = "unix:",
        certificate: Certificate = dict,
    ) -> None:
        """Makes it.

        Args:
            request: The request, or what receives it when the handler reads it.
            deadline: When the answer is due, on the monotonic clock; None for never.
            metadata: What the caller tells beside the request.
            peer: Where the call comes from, as gRPC writes it.
            certificate: Returns the facts of the caller's certificate.
        """
        self._certificate = certificate
        self._request = request if isinstance(request, bytes) else None
        self._receive = None if isinstance(request, bytes) else request
        self._deadline = deadline
        self._metadata = metadata
        self._peer = peer
        self.send: Send | None = None
        self.trailing: Metadata = ()

    async def read(self) -> Any:
        """Returns the next request; after the last one gRPC's mark of the end."""
        if self._receive is not None:
            found = await self._receive()
        else:
            found, self._request = self._request, None
        return grpc.aio.EOF if found is None else found

    async def write(self, message: Any) -> None:
        """Sends a message of a stream."""
        assert self.send is not None, "only methods that answer with a stream write"
        await self.send(message)

    def time_remaining(self) -> float | None:
        """Returns the seconds to the deadline; None if there is none."""
        return None if self._deadline is None else self._deadline - monotonic()

    def invocation_metadata(self) -> Metadata:
        """Returns what the caller tells beside the request."""
        return self._metadata

    def peer(self) -> str:
        """Returns where the call comes from."""
        return self._peer

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Returns the facts of the caller's certificate."""
        return self._certificate()

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets what goes with the answer."""
        self.trailing = metadata

    async def abort(
        self, code: grpc.StatusCode, message: str, metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """Ends the call with an error."""
        raise Aborted(code, message, metadata)
