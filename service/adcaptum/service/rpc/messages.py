"""Bytes of requests -> messages, bounded, with typed errors.

If gRPC decoded requests, it would do so before any check, answer UNKNOWN where it fails, and log a
traceback. So every method takes bytes, and they are decoded here, without fields that the server
does not know.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from adcaptum.service.errors import DeadlineExceeded, InvalidRequest
from adcaptum.service.wire.structure import Payloads, check_structure, payloads, undecodable

MESSAGE_SECONDS: Final = 20.0
"""The longest that a call may take to send its request: one that sends none holds a place."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class MessageReader:
    """Reads the requests of one method.

    Attributes:
        kind: The class of its messages.
        fields: Their fields with data.
    """

    kind: type[Message]
    fields: Payloads

    @classmethod
    def of(cls, deserializer: Any) -> Self:
        """Makes a reader of what a generated deserializer, `Message.FromString`, makes."""
        kind: type[Message] = deserializer.__self__
        return cls(kind, payloads(cast("Descriptor", kind.DESCRIPTOR)))

    def decode(self, raw: bytes) -> Any:
        """Decodes a request.

        Raises:
            InvalidRequest: The bytes are no such message, or too many of them are not data.
        """
        check_structure(raw, self.fields)
        message = self.kind()
        try:
            message.ParseFromString(raw)
        except DecodeError as error:
            raise undecodable() from error
        message.DiscardUnknownFields()
        return message


async def received(context: Context) -> bytes:
    """Waits for the bytes of a call's request.

    Raises:
        DeadlineExceeded: They did not come in time.
        InvalidRequest: The call ended without any.
    """
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            raw = await context.read()
    except TimeoutError as error:
        raise DeadlineExceeded(f"no request came within {MESSAGE_SECONDS:g} s") from error
    if not isinstance(raw, bytes):
        raise InvalidRequest("request", "missing")
    return raw
