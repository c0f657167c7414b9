"""Frames: entries as bytes, and both ends of a connection on a real socket."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
from hypothesis import given, strategies as st

from adcaptum.service.rpc.error_answers import DETAILS_KEY
from adcaptum.service.rpc.frames import entries
from adcaptum.service.rpc.frames.client import FrameClient
from adcaptum.service.rpc.frames.server import FrameServer

METADATA = [("x-request-id", "a"), ("x-caller-id", "b"), ("traceparent", "ä")]
MOST = 1 << 20

Handle = Callable[[Any, Any], Awaitable[bytes]]


@given(
    bodies=st.lists(st.binary(max_size=200), max_size=6),
    cuts=st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=5),
)
def test_entries_are_read_as_they_were_written_however_they_arrive(
    bodies: list[bytes], cuts: list[int]
) -> None:
    sent = b"".join(
        b"".join(entries.request(number, "Explain", 1.5, METADATA, body))
        for number, body in enumerate(bodies)
    )
    sent += entries.cancellation(7) + entries.error(8, 5, "nö", b"d")
    reader, at, turn = entries.EntryReader(), 0, 0
    found: list[tuple[int, int, bytes, bytes]] = []
    while at < len(sent):
        size = cuts[turn % len(cuts)]
        found += reader.read(sent[at : at + size])
        at, turn = at + size, turn + 1
    *requests, cancelled, failed = found
    assert [(kind, number, body) for kind, number, _, body in requests] == [
        (entries.REQUEST, number, body) for number, body in enumerate(bodies)
    ]
    for _, _, head, _ in requests:
        assert entries.question(head) == ("Explain", 1.5, METADATA)
    assert cancelled == (entries.CANCEL, 7, b"", b"")
    assert failed[:2] == (entries.ERROR, 8)
    assert entries.status(failed[2]) == (5, "nö")
    assert failed[3] == b"d"


def test_a_request_without_a_deadline_has_none() -> None:
    head = b"".join(entries.request(0, "Predict", None, [], b""))[entries.ENTRY.size :]
    assert entries.question(head) == ("Predict", None, [])


def serve(
    tmp_path: Path, handle: Handle, play: Callable[[FrameClient, FrameServer], Awaitable[None]]
) -> None:
    """Plays with a client of a server whose methods are all the same."""

    async def main() -> None:
        handler: Any = grpc.stream_unary_rpc_method_handler(handle, None, bytes)
        server = FrameServer(dict.fromkeys(entries.METHODS, handler), MOST)
        await server.listen(tmp_path / "s")
        client = await FrameClient.connect(tmp_path / "s")
        try:
            await asyncio.wait_for(play(client, server), 20)
        finally:
            client.close()
            server.stop()

    asyncio.run(main())


def test_an_answer_comes_as_soon_as_it_is_there(tmp_path: Path) -> None:
    first = asyncio.Event()
    order: list[bytes] = []

    async def handle(_: Any, context: Any) -> bytes:
        message: bytes = await context.read()
        if message == b"slow":
            await first.wait()
        return message * 2

    async def play(client: FrameClient, _: FrameServer) -> None:
        async def ask(message: bytes) -> None:
            answer, _ = await client.call("Predict", message, None, METADATA)
            assert answer == message * 2
            order.append(message)
            first.set()

        # Of one frame: what the loop sends in one pass.
        await asyncio.gather(ask(b"slow"), ask(b"quick"), ask(b"q" * 500_000))
        assert order[0] == b"quick"

    serve(tmp_path, handle, play)


def test_the_handler_sees_the_call_as_grpc_would_show_it(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handle(_: Any, context: Any) -> bytes:
        seen.extend([context.time_remaining(), context.invocation_metadata(), context.peer()])
        context.set_trailing_metadata((("x-request-id", "a"), ("x", "1.5"), ("y", "")))
        return b""

    async def play(client: FrameClient, _: FrameServer) -> None:
        answer = await client.call("Explain", b"", monotonic() + 5, METADATA)
        assert answer == (b"", {"x": "1.5", "y": ""})

    serve(tmp_path, handle, play)
    assert 4 < seen[0] <= 5
    assert seen[1:] == [METADATA, "unix:"]


def test_errors_keep_their_code_text_and_details(tmp_path: Path) -> None:
    async def handle(_: Any, context: Any) -> bytes:
        if await context.read() == b"raise":
            raise RuntimeError("unexpected")
        await context.abort(grpc.StatusCode.NOT_FOUND, "no mödel", ((DETAILS_KEY, b"details"),))
        return b""

    async def play(client: FrameClient, _: FrameServer) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("Predict", b"", None, [])
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no mödel"
        assert dict(caught.value.trailing_metadata())[DETAILS_KEY] == b"details"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("Predict", b"raise", None, [])
        assert caught.value.code() == grpc.StatusCode.INTERNAL

    serve(tmp_path, handle, play)


def test_an_answer_over_the_limit_is_refused(tmp_path: Path) -> None:
    async def handle(_: Any, __: Any) -> bytes:
        return bytes(MOST + 1)

    async def play(client: FrameClient, _: FrameServer) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("Predict", b"", None, [])
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    serve(tmp_path, handle, play)


def test_who_stops_waiting_ends_the_call(tmp_path: Path) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: Any, __: Any) -> bytes:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return b""

    async def play(client: FrameClient, _: FrameServer) -> None:
        call = asyncio.create_task(client.call("Predict", b"", None, []))
        await begun.wait()
        call.cancel()
        await ended.wait()
        assert client.connected

    serve(tmp_path, handle, play)


def test_calls_that_are_cancelled_before_they_begin_leave_nothing(tmp_path: Path) -> None:
    async def handle(_: Any, context: Any) -> bytes:
        message: bytes = await context.read()
        return message

    async def play(client: FrameClient, server: FrameServer) -> None:
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        parts = list[bytes]()
        for number in range(20):
            parts += entries.request(number, "Predict", None, [], b"")
            parts.append(entries.cancellation(number))
        writer.write(b"".join(parts))
        # The server has read all of it once another connection has its answer.
        for _ in range(3):
            assert (await client.call("Predict", b"a", None, []))[0] == b"a"
        assert [len(connection._tasks) for connection in server._connections] == [0, 0]
        writer.close()

    serve(tmp_path, handle, play)


def test_a_lost_connection_ends_the_calls_of_both_ends(tmp_path: Path) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(_: Any, __: Any) -> bytes:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return b""

    async def play(client: FrameClient, server: FrameServer) -> None:
        call = asyncio.create_task(client.call("Predict", b"", None, []))
        await begun.wait()
        server.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        await ended.wait()
        assert not client.takes("Predict", b"", [])

    serve(tmp_path, handle, play)


def test_what_does_not_fit_goes_another_way(tmp_path: Path) -> None:
    async def handle(_: Any, context: Any) -> bytes:
        return bytes(await context.read())

    async def play(client: FrameClient, _: FrameServer) -> None:
        assert client.takes("Predict", bytes(entries.MOST_BYTES), METADATA)
        assert not client.takes("Predict", bytes(entries.MOST_BYTES + 1), METADATA)
        assert not client.takes("ExplainStream", b"", METADATA)
        assert not client.takes("Predict", b"", [("traceparent", "a" * 5000)])
        calls = [
            asyncio.create_task(client.call("Predict", bytes(entries.MOST_BYTES), None, []))
            for _ in range(8)
        ]
        await asyncio.sleep(0)
        # More than 4 MiB wait to be sent.
        assert not client.takes("Predict", b"", METADATA)
        assert [len(each) for each, _ in await asyncio.gather(*calls)] == [entries.MOST_BYTES] * 8
        assert client.takes("Predict", b"", METADATA)

    serve(tmp_path, handle, play)
