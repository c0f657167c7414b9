"""Clients that do not speak properly: bytes on a TCP connection, without a library of gRPC."""

import asyncio
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
NO_WINDOW = struct.pack(">HI", 4, 0)
"""The setting with which not a byte of an answer may be sent."""

PREDICT = "/adcaptum.v1.ExplanationService/Predict"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def call(stream: int, path: str, message: bytes) -> bytes:
    """Returns the frames of a call without a deadline."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",  # codespell:ignore te
        "content-type": "application/grpc",
    }
    # Literal fields that are not indexed (RFC 7541, section 6.2.2).
    block = b"".join(
        b"\0" + bytes([len(text)]) + text.encode()
        if index == 0
        else bytes([len(text)]) + text.encode()
        for pair in headers.items()
        for index, text in enumerate(pair)
    )
    body = struct.pack(">BI", 0, len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)


Send = Callable[[bytes], Awaitable[None]]
Client = Callable[[Send], Awaitable[None]]


async def silent(_: Send) -> None:
    """Says nothing."""


async def half_preface(send: Send) -> None:
    """Sends half of the connection's preface."""
    await send(PREFACE[: len(PREFACE) // 2])


async def byte_by_byte(send: Send) -> None:
    """Sends a byte a second."""
    for byte in PREFACE + frame(SETTINGS, 0, 0):
        await send(bytes([byte]))
        await asyncio.sleep(1)


def never_reads(calls: int, message: bytes) -> Client:
    """Returns a client that sends calls and reads no answer, acknowledgement or ping."""

    async def speak(send: Send) -> None:
        await send(PREFACE + frame(SETTINGS, 0, 0, NO_WINDOW))
        for index in range(calls):
            await send(call(2 * index + 1, PREDICT, message))

    return speak


@asynccontextmanager
async def connected(address: str, clients: Sequence[Client]) -> AsyncIterator[list[socket.socket]]:
    """Holds a connection for each client; none of them reads."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    sockets = [socket.socket() for _ in clients]

    async def hold(client: Client, connection: socket.socket) -> None:
        connection.setblocking(False)
        await loop.sock_connect(connection, (host, int(port)))
        with suppress(ConnectionError):
            await client(partial(loop.sock_sendall, connection))

    tasks = [
        asyncio.create_task(hold(client, connection))
        for client, connection in zip(clients, sockets, strict=True)
    ]
    try:
        yield sockets
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in sockets:
            connection.close()


def is_closed(connection: socket.socket) -> bool:
    """Returns whether the server has closed a connection, without reading from it."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
