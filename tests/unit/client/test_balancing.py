"""Several servers, deadlines of blocks, and many requests at a time."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped] # no marker
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import adcaptum.client
from adcaptum.client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Explanations,
    InvalidRequest,
    deadline,
)
from adcaptum.client.addresses import are_balanced, listed, target
from adcaptum.client.calling.many import AHEAD, MOST_REFUSALS, explain_many
from adcaptum.client.codec.replies import decode_explanations
from adcaptum.v1 import explanation_service_pb2_grpc as grpc_services
from tests.unit.client import canned
from tests.unit.client.canned_server import CannedServicer, failure

ROW = np.zeros((1, 3), np.float32)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Replica:
    """A server of two, with its health."""

    def __init__(self) -> None:
        self.servicer = CannedServicer()
        self.health = health.HealthServicer()
        self.health.set("", SERVING)
        self._pool = futures.ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool)
        grpc_services.add_ExplanationServiceServicer_to_server(self.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self.health.enter_graceful_shutdown()
        self._server.stop(None).wait()
        self._pool.shutdown()


@pytest.fixture
def replicas() -> Iterator[tuple[Replica, Replica]]:
    both = Replica(), Replica()
    yield both
    for each in both:
        each.stop()


def answered(replicas: tuple[Replica, Replica]) -> list[int]:
    return [each.servicer.rpcs.count("ListModels") for each in replicas]


def test_calls_go_to_servers_in_turns(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    with Client([first.address, second.address]) as client:
        for _ in range(40):
            client.models()
    # One may have been connected before the other.
    assert min(answered(replicas)) >= 10


def test_a_server_that_is_not_healthy_gets_no_calls(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    first.health.set("", NOT_SERVING)
    with Client(f"{first.address}, {second.address}") as client:
        for _ in range(20):
            client.models()
        assert answered(replicas) == [0, 20]
        first.health.set("", SERVING)
        second.health.set("", NOT_SERVING)
        end = time.monotonic() + 10
        while answered(replicas)[0] < 5 and time.monotonic() < end:
            client.models()
    assert answered(replicas)[0] >= 5


def test_a_server_that_goes_away_is_left_out(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    with Client([first.address, second.address]) as client:
        client.models()
        first.stop()
        before = answered(replicas)[1]
        for _ in range(20):
            client.models()
        assert answered(replicas)[1] - before == 20


async def test_an_asynchronous_client_balances_too(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    first.health.set("", NOT_SERVING)
    async with AsyncClient([first.address, second.address]) as client:
        await asyncio.gather(*(client.models() for _ in range(10)))
    assert answered(replicas) == [0, 10]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("one:1", "one:1"),
        ("dns:///one:1", "dns:///one:1"),
        (["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
        (["localhost:1", "127.0.0.2:2"], "ipv4:127.0.0.1:1,127.0.0.2:2"),
    ],
)
def test_addresses_become_a_target(address: str | list[str], expected: str) -> None:
    assert target(listed(address)) == expected
    assert are_balanced(listed(address)) == (expected != "one:1")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "must be HOST:PORT"),
        ([], "must be HOST:PORT"),
        (["one", "two:1"], "'one' is not HOST:PORT"),
        (["127.0.0.1:1", "[::1]:1"], "all of IPv4 or all of IPv6"),
    ],
)
def test_addresses_that_are_none_are_refused(address: str | list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Client(address)


def test_a_deadline_holds_for_all_calls_of_a_block(
    client: Client, servicer: CannedServicer
) -> None:
    with deadline(9), deadline(20), deadline(None):
        client.explain("cells", ROW)
        assert servicer.seconds_left is not None
        assert 5 < servicer.seconds_left < 9.5
        client.explain("cells", ROW, timeout=3)
        assert servicer.seconds_left < 3.5
    client.explain("cells", ROW)
    assert servicer.seconds_left > 30
    asked = len(servicer.asked)
    with deadline(0), pytest.raises(DeadlineExceeded, match="passed before this one"):
        client.models()
    assert len(servicer.asked) == asked


async def test_a_deadline_holds_for_tasks(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    with deadline(9):
        await asyncio.gather(async_client.models(), async_client.models())
    assert servicer.seconds_left is not None
    assert servicer.seconds_left < 9.5


@pytest.mark.parametrize("ordered", [True, False])
def test_many_are_asked_a_few_at_a_time(ordered: bool) -> None:
    lock, inside, most, begun = threading.Lock(), [0], [0], [0]

    def ask(given: object) -> Explanations:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.03 if given == 0 else 0.002)
        with lock:
            inside[0] -= 1
        return decode_explanations(canned.explained())

    def source() -> Iterator[int]:
        for number in range(40):
            begun[0] += 1
            yield number

    answers = explain_many(
        ask,
        source(),  # type: ignore[arg-type] # numbers stand for inputs
        concurrency=3,
        ordered=ordered,
        progress=False,
    )
    first = next(answers)
    assert begun[0] <= 3 * AHEAD
    found = [first, *answers]
    assert most[0] == 3
    places = [each.index for each in found]
    assert sorted(places) == list(range(40))
    assert (places == list(range(40))) == ordered
    assert all(each.explanations.model.name == "cells" for each in found)


def test_one_that_fails_does_not_end_the_others(client: Client, servicer: CannedServicer) -> None:
    servicer.failures.append(failure(code_pb2.INVALID_ARGUMENT, "no"))
    one, *others = client.explain_many("cells", [ROW] * 4, concurrency=1, targets=1)
    assert isinstance(one.error, InvalidRequest)
    with pytest.raises(InvalidRequest, match="no"):
        _ = one.explanations
    assert [each.error for each in others] == [None] * 3
    assert servicer.rpcs == ["Explain"] * 4


def busy() -> object:
    delay = duration_pb2.Duration(nanos=10_000_000)
    retry = error_details_pb2.RetryInfo(retry_delay=delay)
    return failure(code_pb2.RESOURCE_EXHAUSTED, "full", retry)


async def test_a_server_with_too_much_work_is_asked_again(
    client: Client, async_client: AsyncClient, servicer: CannedServicer
) -> None:
    servicer.failures.extend([busy()] * MOST_REFUSALS)
    (answer,) = [each async for each in async_client.explain_many("cells", [ROW])]
    assert answer.error is None
    servicer.failures.extend([busy()] * (MOST_REFUSALS + 1))
    (refused,) = await asyncio.to_thread(lambda: [*client.explain_many("cells", [ROW])])
    assert refused.error is not None
    assert len(servicer.asked) == 2 * (MOST_REFUSALS + 1)


async def test_tasks_keep_their_order_and_stop_when_they_are_left(
    async_client: AsyncClient, servicer: CannedServicer
) -> None:
    answers = async_client.explain_many("cells", [ROW] * 50, concurrency=4)
    found = []
    async for each in answers:
        found.append(each.index)
        if len(found) == 5:
            break
    assert found == list(range(5))
    await answers.aclose()  # type: ignore[attr-defined] # of a generator
    asked = len(servicer.asked)
    await asyncio.sleep(0.05)
    assert len(servicer.asked) - asked <= 4
    unordered = async_client.explain_many("cells", [ROW] * 9, ordered=False)
    assert sorted([each.index async for each in unordered]) == list(range(9))


@pytest.mark.parametrize("missing", ["", "tqdm", "rich.progress"])
def test_progress_is_shown_by_what_is_installed(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    for name in ("tqdm", "rich.progress")[: ("", "tqdm", "rich.progress").index(missing)]:
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert len([*client.explain_many("cells", [ROW] * 3, progress=True)]) == 3
    shown = capsys.readouterr()
    assert ("3/3" in shown.err) == (missing == "")
    assert ("explain" in shown.err + shown.out) == (missing != "rich.progress")


def test_at_least_one_at_a_time(client: Client) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        next(client.explain_many("cells", [ROW], concurrency=0))


def test_the_client_has_a_version() -> None:
    assert adcaptum.client.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="__versions__"):
        _ = adcaptum.client.__versions__
