"""Several servers of gRPC on one port."""

import asyncio
import socket
from typing import Any

import grpc
import pytest

from adcaptum.service.rpc.ports.joined_server import JoinedServer

PATH = "/tests.Echo/Answer"
LIMIT = "Concurrent RPC limit exceeded!"


def handlers(answer: Any) -> list[grpc.GenericRpcHandler]:
    """A service of one method."""
    method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(answer)
    return [grpc.method_handlers_generic_handler("tests.Echo", {"Answer": method})]


async def echo(request: bytes, context: Any) -> bytes:
    """Answers with the request."""
    return request


async def ask(port: int, request: bytes) -> Any:
    """Asks on a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call: Any = channel.unary_unary(PATH)
        return await call(request, timeout=10)


async def test_every_connection_is_served_whichever_server_has_it() -> None:
    server = JoinedServer(3, [], [], 100)
    server.add_generic_rpc_handlers(handlers(echo))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    asked = [str(number).encode() for number in range(24)]
    assert await asyncio.gather(*[ask(port, each) for each in asked]) == asked
    await server.stop(None)
    assert await server.wait_for_termination(5) is False
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


async def test_connections_are_divided_among_the_servers() -> None:
    """Each takes one call at a time here, so that more at a time are taken by several."""
    here, go = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: bytes, context: Any) -> bytes:
        here.release()
        await go.wait()
        return request

    server = JoinedServer(3, [], [], 1)
    server.add_generic_rpc_handlers(handlers(wait))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calls = [asyncio.ensure_future(ask(port, b"x")) for _ in range(32)]
    for _ in range(2):
        await asyncio.wait_for(here.acquire(), 10)
    go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each.details() for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert set(refused) == {LIMIT}
    assert {each for each in answers if isinstance(each, bytes)} == {b"x"}
    await server.stop(None)
