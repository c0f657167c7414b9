"""Bodies and headers of requests of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest
from starlette.requests import Request

from adcaptum.service.errors import Cancelled, InvalidRequest, TooBusy
from adcaptum.service.rpc.web import envelopes
from adcaptum.service.rpc.web.bodies import SMALL, Bodies


def request(
    *parts: bytes | None, headers: Sequence[tuple[str, str]] = (), client: Any = ("10.0.0.9", 77)
) -> Request:
    """A request whose body comes in parts; None: its client goes."""
    coming = [
        {"type": "http.disconnect"}
        if part is None
        else {"type": "http.request", "body": part, "more_body": place + 1 < len(parts)}
        for place, part in enumerate(parts)
    ]

    async def receive() -> Any:
        return coming.pop(0)

    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw, "client": client}
    return Request(scope, receive)


async def body(bodies: Bodies, asked: Request) -> bytes:
    async with bodies.received(asked) as parts:
        return b"".join(parts)


async def test_a_body_is_put_together_and_bounded() -> None:
    bodies = Bodies(10, 15)
    assert await body(bodies, request(b"abc", b"", b"def")) == b"abcdef"
    for wrong in (
        request(b"", headers=[("content-length", "11")]),
        request(b"12345", b"67890", b"1"),
    ):
        with pytest.raises(InvalidRequest, match="at most 10 are taken"):
            await body(bodies, wrong)
    with pytest.raises(Cancelled):
        await body(bodies, request(b"abc", None))


async def test_bodies_together_are_bounded_and_what_ends_makes_room() -> None:
    bodies = Bodies(10, 15)
    async with bodies.received(request(b"1234567890")):
        assert await body(bodies, request(b"12345")) == b"12345"
        with pytest.raises(TooBusy, match="the bodies of other requests have 10 bytes"):
            await body(bodies, request(b"123", b"456"))
    assert await body(bodies, request(b"123456")) == b"123456"


async def test_large_bodies_are_translated_apart_from_the_loop() -> None:
    import threading

    bodies = Bodies(10, 10)
    here = threading.get_ident()
    assert await bodies.translate(threading.get_ident, SMALL) == here
    assert await bodies.translate(threading.get_ident, SMALL + 1) != here


def test_headers_become_what_comes_with_a_call() -> None:
    asked = request(
        headers=[
            ("x-request-id", "a"), ("x-caller-id", "b"), ("traceparent", "00-1"),
            ("authorization", "Bearer c"), ("cookie", "d"), ("tracestate", "\xe4"),
            ("grpc-timeout", "1500m"),
        ]
    )  # fmt: skip
    found = envelopes.envelope(asked)
    assert dict(found.metadata) == {
        "x-request-id": "a", "x-caller-id": "b", "traceparent": "00-1", "authorization": "Bearer c",
    }  # fmt: skip
    assert found.deadline == pytest.approx(monotonic() + 1.5, abs=0.5)
    assert found.peer == "ipv4:10.0.0.9:77"
    bare = envelopes.envelope(request(headers=[("x-request-id", "two words")], client=("::1", 7)))
    assert dict(bare.metadata)["x-request-id"] not in ("", "two words")
    assert (bare.deadline, bare.peer) == (None, "ipv6:%5B::1%5D:7")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2S", 2.0), ("1H", 3600.0), ("3M", 180.0), ("5m", 0.005), ("2", 2.0), ("0.5", 0.5)],
)
def test_timeouts_are_grpcs_or_plain_seconds(text: str, seconds: float) -> None:
    asked = request(headers=[("grpc-timeout", text)])
    envelopes.check_timeout(asked)
    deadline = envelopes.envelope(asked).deadline
    assert deadline == pytest.approx(monotonic() + seconds, abs=0.5)


@pytest.mark.parametrize("text", ["", "S", "-1S", "1x", "1 S", "123456789S", "1e3", "1.S"])
def test_other_timeouts_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="grpc-timeout: "):
        envelopes.check_timeout(request(headers=[("grpc-timeout", text)]))


async def test_a_call_that_is_cancelled_while_its_body_comes_gives_its_room_back() -> None:
    bodies = Bodies(10, 10)
    stands = asyncio.Event()

    async def receive() -> Any:
        if not stands.is_set():
            stands.set()
            return {"type": "http.request", "body": b"123", "more_body": True}
        return await asyncio.Event().wait()

    asked = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    task = asyncio.create_task(body(bodies, asked))
    await stands.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await body(bodies, request(b"1234567890")) == b"1234567890"
