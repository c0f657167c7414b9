"""The front's end of frames: sends requests to a worker and waits for their answers."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Final, cast

import grpc

from adcaptum.service.rpc.error_answers import DETAILS_KEY
from adcaptum.service.rpc.frames import entries

MOST_WAITING: Final = 4 << 20
"""The most bytes that wait to be sent; a worker that reads so slowly gets no more frames."""

MOST_VALUE: Final = 1 << 12
"""The longest value of metadata that goes in a frame."""

Answered = tuple[bytes, dict[str, str]]
"""An answer, and what the worker tells beside it."""

CODES: Final = {int(code.value[0]): code for code in grpc.StatusCode}


class FrameClient(asyncio.Protocol):
    """A connection to a worker.

    Errors are those of gRPC's calls, so that whoever calls need not know how a request went.
    """

    def __init__(self) -> None:
        self._reader = entries.EntryReader()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def connect(cls, path: Path) -> "FrameClient":
        """Connects to a worker.

        Raises:
            OSError: Nobody listens.
        """
        _, client = await asyncio.get_running_loop().create_unix_connection(cls, str(path))
        return client

    @property
    def connected(self) -> bool:
        """True if requests can be sent."""
        return self._transport is not None

    def takes(self, method: str, body: bytes, metadata: entries.Metadata) -> bool:
        """Returns whether a request may go this way: it is small, and the worker reads."""
        transport = self._transport
        return (
            transport is not None
            and method in entries.METHODS
            and len(body) <= entries.MOST_BYTES
            and all(len(value) <= MOST_VALUE for _, value in metadata)
            and transport.get_write_buffer_size() <= MOST_WAITING
        )

    async def call(
        self, method: str, body: bytes, deadline: float | None, metadata: entries.Metadata
    ) -> Answered:
        """Returns the answer to a request that `takes` has accepted.

        There is no timer here: whoever waits is cancelled at the deadline, by gRPC.

        Raises:
            grpc.aio.AioRpcError: The worker answered with an error, or is lost (UNAVAILABLE without
                details).
        """
        transport = self._transport
        if transport is None:
            raise _lost()
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        transport.writelines(entries.request(number, method, deadline, metadata, body))
        try:
            return await waiting
        finally:
            del self._waiting[number]
            # A future that was cancelled is one whose answer nobody waits for any more.
            if waiting.cancelled() and self._transport is not None:
                transport.write(entries.cancellation(number))

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hands over the answers that have come."""
        for kind, number, head, body in self._reader.read(data):
            waiting = self._waiting.get(number)
            if waiting is None or waiting.done():
                continue
            if kind == entries.ANSWER:
                waiting.set_result((body, entries.trailing(head)))
            else:
                code, text = entries.status(head)
                waiting.set_exception(_error(CODES[code], text, body))

    def connection_lost(self, _: Exception | None) -> None:
        """Ends all waiting: the worker is lost."""
        self._transport = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_lost())


def _lost() -> grpc.aio.AioRpcError:
    return _error(grpc.StatusCode.UNAVAILABLE, "the connection to the worker has ended", b"")


def _error(code: grpc.StatusCode, text: str, details: bytes) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata((DETAILS_KEY, details)) if details else grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, text)
