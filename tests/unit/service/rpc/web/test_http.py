"""The HTTP side under callers that send little and ask for much."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adcaptum.service.rpc.web import http, impatient_protocol
from adcaptum.service.rpc.web.exposition import Exposition


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[http.HttpServer]:
    monkeypatch.setattr(impatient_protocol, "PATIENCE_SECONDS", 0.2)
    listener = socket.create_server(("127.0.0.1", 0))
    made = http.HttpServer(http.application(Exposition(CollectorRegistry()), str), listener)
    made.start()
    yield made
    await made.stop()


async def healthz(server: http.HttpServer) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    reply = await reader.read()
    writer.close()
    return reply


async def end(reader: asyncio.StreamReader) -> None:
    """Waits until the server closes a connection, whatever it sends before."""
    async with asyncio.timeout(10):
        with suppress(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nA: ",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HT",
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    ],
    ids=["nothing", "half of the headers", "half of a second request", "half of a body"],
)
async def test_connections_that_stand_still_are_closed(
    server: http.HttpServer, begun: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(begun)
    await end(reader)
    writer.close()
    assert b"alive" in await healthz(server)


async def test_many_connections_keep_no_probe_out(
    server: http.HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impatient_protocol, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(impatient_protocol, "MOST_CONNECTIONS", 3)
    opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(6)]
    for _, writer in opened:
        writer.write(b"GET /metrics HTTP/1.1\r\nA: ")

    assert b"alive" in await healthz(server)

    for reader, _ in opened[:3]:
        await end(reader)
    for _, writer in opened:
        writer.close()


async def test_a_request_that_is_served_outlives_the_patience_and_an_idle_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(impatient_protocol, "PATIENCE_SECONDS", 0.2)

    async def slow(_: Request) -> Response:
        await asyncio.sleep(0.8)
        return PlainTextResponse("done")

    async def large(_: Request) -> Response:
        return PlainTextResponse("x" * (64 << 20))

    routes = [Route("/slow", slow), Route("/large", large)]
    app = http.application(Exposition(CollectorRegistry()), str, routes)
    made = http.HttpServer(app, socket.create_server(("127.0.0.1", 0)))
    made.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        assert (await reader.read()).endswith(b"done")
    writer.close()
    # Whoever takes nothing of an answer does not hold it for ever.
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port, limit=1)
    writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    for opened in (True, False):
        async with asyncio.timeout(10):
            while bool(made.connections) != opened:  # noqa: ASYNC110 - uvicorn's set tells nobody
                await asyncio.sleep(0.01)
    writer.close()
    await made.stop()


async def test_metrics_are_written_apart_from_the_loop_and_together() -> None:
    threads: list[int] = []
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def encode(_: CollectorRegistry) -> bytes:
        threads.append(threading.get_ident())
        loop.call_soon_threadsafe(begun.set)
        go.wait(10)
        return str(len(threads)).encode()

    exposition = Exposition(CollectorRegistry())
    first = asyncio.create_task(exposition.text(encode, "text"))
    await begun.wait()
    # The loop runs while metrics are written. Whoever asks now must not get what was begun before.
    others = [asyncio.create_task(exposition.text(encode, "text")) for _ in range(50)]
    await asyncio.sleep(0)
    others[0].cancel()
    go.set()

    assert await first == b"1"
    assert await asyncio.gather(*others[1:]) == [b"2"] * 49
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), "https://a.example", None),
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), "https://b.example", None),
        (("*",), "https://b.example", "*"),
    ],
)
async def test_pages_of_other_sites_are_let_in_by_name(
    origins: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    app = http.application(Exposition(CollectorRegistry()), str, (), origins)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        reply = await client.get("/healthz", headers={"origin": origin})
        assert reply.headers.get("access-control-allow-origin") == allowed
        asked = {"origin": origin, "access-control-request-method": "POST"}
        reply = await client.options("/healthz", headers=asked)
        assert reply.headers.get("access-control-allow-origin") == allowed
        assert (reply.status_code == 200) == (allowed is not None)


async def test_a_wrong_method_is_told_all_that_the_path_has() -> None:
    async def nothing(_: Request) -> Response:
        return PlainTextResponse("")

    routes = [Route("/a", nothing, methods=[verb]) for verb in ("PUT", "DELETE")]
    app = http.application(Exposition(CollectorRegistry()), str, routes)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        reply = await client.post("/a")
    assert (reply.status_code, reply.headers["allow"]) == (405, "DELETE, PUT")
    assert reply.json()["title"] == "Method Not Allowed"
