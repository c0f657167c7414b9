"""Bytes of requests -> messages, bounded, with typed errors.

If gRPC decoded requests, it would do so before any check, answer UNKNOWN where it fails, and log a
traceback. So every method takes bytes, and they are decoded here. Fields that the server does not
know are refused: to ignore a part of a question gives a wrong answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, Final, Self, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from adcaptum.service.errors import DeadlineExceeded, InvalidRequest, TooBusy
from adcaptum.service.wire.structure import (
    MOST_STRUCTURE,
    Layout,
    check_structure,
    layout,
    undecodable,
    unknown_field,
)

MESSAGE_SECONDS: Final = 20.0
"""The longest that a call may take to send its request: one that sends none holds a place."""

Context = grpc.aio.ServicerContext[Any, Any]


def writer(handler: "grpc.RpcMethodHandler[Any, Any]") -> Callable[[Any], bytes]:
    """Returns the serializer of a method whose answers may be serialised already.

    Args:
        handler: The method's handler.
    """
    serialise = cast("Callable[[Any], bytes]", handler.response_serializer)

    def write(answer: Any) -> bytes:
        return answer if isinstance(answer, bytes) else serialise(answer)

    return write


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Reads the requests of one method.

    Attributes:
        kind: The class of its messages.
        fields: Their fields.
    """

    kind: type[Message]
    fields: Layout

    @classmethod
    def of(cls, deserializer: Any) -> Self:
        """Makes a reader of what a generated deserializer, `Message.FromString`, makes."""
        kind: type[Message] = deserializer.__self__
        return cls(kind, layout(cast("Descriptor", kind.DESCRIPTOR)))

    def decode(self, raw: bytes) -> Any:
        """Decodes a request.

        Raises:
            InvalidRequest: The bytes are no such message, too many of them are not data, or a
                field is not known.
        """
        check_structure(raw, self.fields)
        message = self.kind()
        try:
            message.ParseFromString(raw)
        except DecodeError as error:
            raise undecodable() from error
        if len(raw) > MOST_STRUCTURE:
            # The fields of a large message are checked already, but in lists of numbers, where
            # their reader checks them; its size takes a copy of its data.
            return message
        size = message.ByteSize()
        message.DiscardUnknownFields()
        if message.ByteSize() != size:
            raise unknown_field(raw, self.fields)
        return message


class RequestWaits:
    """The calls whose requests have not come yet, with one timer for all of them.

    A timer for each call would take 4 % of a small prediction. For the event loop only.
    """

    def __init__(self, most: float = inf, seconds: float = MESSAGE_SECONDS) -> None:
        """Prepares it.

        Args:
            most: The most calls that wait at a time.
            seconds: The longest wait for a request, but for a twentieth of it.
        """
        self._most = most
        self._seconds = seconds
        # Oldest first; a wait that has taken too long is marked by infinity.
        self._begun: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def received(self, context: Context) -> bytes:
        """Waits for the bytes of a call's request.

        Raises:
            DeadlineExceeded: They did not come in time.
            InvalidRequest: The call ended without any.
            TooBusy: Too many calls wait.
        """
        if len(self._begun) >= self._most:
            raise TooBusy(
                f"{self._most} calls have not sent their requests yet",
                retry_s=self._seconds / 20,
                limit="requests",
            )
        task = asyncio.current_task()
        assert task is not None, "a call is served in a task"
        self._begun[task] = monotonic()
        if self._timer is None:
            self._schedule()
        try:
            raw = await context.read()
        except asyncio.CancelledError as error:
            # Its caller may have gone in the same moment.
            if self._begun[task] == inf and not task.uncancel():
                raise DeadlineExceeded(f"no request came within {self._seconds:g} s") from error
            raise
        finally:
            del self._begun[task]
        if not isinstance(raw, bytes):
            raise InvalidRequest("request", "missing")
        return raw

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds / 20, self._look)

    def _look(self) -> None:
        """Cancels the waits that have taken too long."""
        self._timer = None
        if not self._begun:
            return
        earliest = monotonic() - self._seconds
        for task, begun in self._begun.items():
            if begun > earliest and begun != inf:
                break
            if begun != inf:
                self._begun[task] = inf
                task.cancel()
        self._schedule()
