"""Links: the connections of a front to a worker, and what it has sent there."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import grpc

from adcaptum.service.rpc.frames.client import Answered, FrameClient
from adcaptum.service.rpc.frames.entries import Metadata

Call = Callable[..., Any]


class WorkerLink:
    """The connections to one worker process: frames for small requests, gRPC for all others.

    Attributes:
        channel: The connection of gRPC.
    """

    def __init__(self, socket: Path, frames_socket: Path, most_bytes: int) -> None:
        """Prepares it; neither connection is made yet.

        Args:
            socket: The worker's socket for gRPC.
            frames_socket: The worker's socket for frames.
            most_bytes: The largest message.
        """
        self._frames_socket = frames_socket
        self._frames: FrameClient | None = None
        self._calls: dict[str, Call] = {}
        self.channel = grpc.aio.insecure_channel(
            f"unix:{socket}",
            options=[
                ("grpc.max_receive_message_length", most_bytes),
                ("grpc.max_send_message_length", most_bytes),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 250),
                ("grpc.enable_http_proxy", 0),
                # The front sends each request once more itself, and only where that is right.
                ("grpc.enable_retries", 0),
            ],
        )

    async def connect(self) -> None:
        """Connects for frames if that is to do; where it fails, requests go by gRPC."""
        if self._frames is None or not self._frames.connected:
            with suppress(OSError):
                self._frames = await FrameClient.connect(self._frames_socket)

    async def unary(
        self, path: str, body: bytes, deadline: float | None, metadata: Metadata
    ) -> Answered:
        """Returns the answer to a request that has one, and its trailing metadata.

        Args:
            path: The method.
            body: The message.
            deadline: When its answer is due, on the monotonic clock; None for never.
            metadata: What goes with it.
        """
        frames, method = self._frames, path.rpartition("/")[2]
        if frames is not None and frames.takes(method, body, metadata):
            return await frames.call(method, body, deadline, metadata)
        seconds = None if deadline is None else deadline - monotonic()
        call = self.call(path, streamed=False)(body, timeout=seconds, metadata=metadata)
        answer: bytes = await call
        return answer, dict(await call.trailing_metadata() or ())

    def call(self, path: str, *, streamed: bool) -> Call:
        """Returns gRPC's call of a method with bytes, that answers with bytes.

        Args:
            path: The method.
            streamed: Whether its answer is a stream.
        """
        known = self._calls.get(path)
        if known is None:
            make = self.channel.unary_stream if streamed else self.channel.unary_unary
            known = self._calls[path] = make(path)
        return known

    async def close(self) -> None:
        """Closes the connections."""
        if self._frames is not None:
            self._frames.close()
        await self.channel.close()
