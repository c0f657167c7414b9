"""Who is blamed for the end of a worker."""

import asyncio
import hashlib
import zlib
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from adcaptum.service.errors import Quarantined, Unavailable
from adcaptum.service.front import forwarder
from adcaptum.service.front.forwarder import Forwarder
from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.front.passage import Passage
from adcaptum.service.front.quarantine import Quarantine
from adcaptum.service.front.router import Router
from adcaptum.service.front.servicer import own_id
from adcaptum.service.front.suspects import Suspects
from adcaptum.service.handlers.call import Call
from adcaptum.service.processes.journal import BATCH, Entry
from adcaptum.service.rpc.calls import MOST_ID
from adcaptum.service.supervisor.death import death
from adcaptum.service.supervisor.views import WorkerView


def pair_of_equal_checksum() -> tuple[bytes, bytes]:
    """Returns two different requests of one CRC-32."""
    seen: dict[int, bytes] = {}
    for number in count():
        body = hashlib.sha256(number.to_bytes(8, "big")).digest()
        other = seen.setdefault(zlib.crc32(body), body)
        if other != body:
            return other, body
    raise AssertionError


class Lost:
    """A worker that ends whenever it gets a request, in a batch of the request `culprit`."""

    def __init__(self, culprit: bytes) -> None:
        self.seat = SimpleNamespace(worker="0")
        self.outstanding, self.outstanding_seconds = 0, 0.0
        self.bodies = {"culprit": culprit}
        self.died = asyncio.get_running_loop().create_future()
        self.link = self

    async def unary(self, *_: object) -> Any:
        self.died.set_result(death(1, "", False, [Entry(BATCH, "m", ("culprit",), 1.0, 0.0)]))
        empty = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty)


class Choosing(Router):
    """Chooses workers that end."""

    def __init__(self, culprit: bytes, kind: type["Lost"]) -> None:
        super().__init__((), 0)
        self._culprit = culprit
        self._kind = kind

    async def choose(self, *_: object, **__: object) -> WorkerView:
        return cast("WorkerView", self._kind(self._culprit))


async def ask(body: bytes, culprit: bytes, kind: type[Lost] = Lost) -> bytes:
    sender = Forwarder(Choosing(culprit, kind), Quarantine(60), {}, FrontMetrics(), Suspects())
    call = Call("mine", 0.0, None, "caller", len(body))
    return await sender.unary(Passage("/s/Predict", "Predict", body, call, call.id, ()))


def test_equal_requests_are_blamed_and_others_of_the_same_checksum_are_not() -> None:
    mine, other = pair_of_equal_checksum()
    with pytest.raises(Quarantined):
        asyncio.run(ask(mine, mine))
    with pytest.raises(Unavailable, match="served the request ended"):
        asyncio.run(ask(mine, other))


def test_a_request_of_another_front_with_the_same_id_is_not_blamed() -> None:
    ids = [own_id("same", front) for front in "01"]
    assert ids == ["same.0", "same.1"]
    # Callers choose ids as long as may be, and may guess what is added.
    longest = ["a" * MOST_ID, "a" * (MOST_ID - 1), "same", "same.1", "same.0"]
    told = [own_id(each, front) for each in longest for front in ("0", "1", "10")]
    assert len({*told}) == len(told)
    assert max(map(len, told)) <= MOST_ID


def test_the_bytes_of_a_request_are_not_kept_by_a_worker_that_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarder, "DEATH_SECONDS", 0.01)
    lost: list[Lost] = []

    class Living(Lost):
        async def unary(self, *_: object) -> Any:
            lost.append(self)
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty)

    with pytest.raises(Unavailable):
        asyncio.run(ask(b"mine", b"other", Living))
    assert lost
    assert all(each.bodies == {"culprit": b"other"} for each in lost)
