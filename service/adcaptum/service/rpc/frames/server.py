"""The worker's end of frames: serves the entries of a connection as gRPC serves calls."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import grpc

from adcaptum.service import logs
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.frames import entries
from adcaptum.service.rpc.local.context import Aborted, LocalContext
from adcaptum.service.rpc.other_services import Handler

TOO_LARGE: Final = int(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
FAILED: Final = int(grpc.StatusCode.INTERNAL.value[0])

Handlers = Mapping[str, Handler]


class FrameServer:
    """Serves frames on a Unix socket.

    The methods' handlers are those of the gRPC server, interceptor included: limits, ids, metrics,
    log lines and statuses are the same.
    """

    def __init__(self, handlers: Handlers, most_bytes: int) -> None:
        """Prepares it.

        Args:
            handlers: The surrounded handler of each method of `entries.METHODS`.
            most_bytes: The largest answer.
        """
        self._handlers = handlers
        self._most_bytes = most_bytes
        self._connections: set[FrameConnection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Starts to serve."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connection, str(path))

    def stop(self) -> None:
        """Closes all connections when what has been answered is sent."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.close()

    def _connection(self) -> "FrameConnection":
        return FrameConnection(self._handlers, self._most_bytes, self._connections)


class FrameConnection(asyncio.Protocol):
    """The connection to one front."""

    def __init__(
        self, handlers: Handlers, most_bytes: int, connections: set["FrameConnection"]
    ) -> None:
        self._handlers = handlers
        self._most_bytes = most_bytes
        self._connections = connections
        self._reader = entries.EntryReader()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Starts the requests that have come, and ends those that nobody waits for."""
        for kind, number, head, body in self._reader.read(data):
            if kind == entries.CANCEL:
                # A task that is cancelled before its first step never reaches its own end.
                task = self._tasks.pop(number, None)
                if task is not None:
                    task.cancel()
                continue
            task = self._loop.create_task(self._serve(number, head, body))
            self._tasks[number] = task

    def connection_lost(self, _: Exception | None) -> None:
        """Ends all calls: their front has ended."""
        self._connections.discard(self)
        for task in [*self._tasks.values()]:
            task.cancel()

    def close(self) -> None:
        """Ends the connection when everything is sent."""
        self._transport.close()

    async def _serve(self, number: int, head: bytes, body: bytes) -> None:
        try:
            method, deadline, metadata = entries.question(head)
            handler = self._handlers[method]
            context = LocalContext(body, deadline, metadata)
            del body
            try:
                found = await cast("Any", handler.stream_unary)(None, context)
                answer = cast("Any", handler.response_serializer)(found)
            except Aborted as aborted:
                self._transport.write(
                    entries.error(number, _number(aborted), aborted.message, aborted.details)
                )
                return
            if len(answer) > self._most_bytes:
                text = f"the answer has {len(answer)} bytes, more than {self._most_bytes}"
                self._transport.write(entries.error(number, TOO_LARGE, text, b""))
                return
            self._transport.writelines(entries.answer(number, _trailing(context), answer))
        except asyncio.CancelledError:
            return
        except Exception:  # noqa: BLE001  # whoever waits must not wait for ever
            logs.logger().exception("a framed request failed")
            self._transport.write(entries.error(number, FAILED, "", b""))
        finally:
            self._tasks.pop(number, None)


def _number(aborted: Aborted) -> int:
    return int(aborted.code.value[0])


def _trailing(context: LocalContext) -> list[tuple[str, str]]:
    """Returns what goes with an answer, but for the id of the request, which the front has."""
    return [pair for pair in context.trailing if pair[0] != ID_KEY]
