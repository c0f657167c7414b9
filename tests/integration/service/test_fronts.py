"""Several fronts on one port: what callers and scrapers see of them, and of their ends."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.v1 import (
    explanation_service_pb2_grpc as pb_grpc,
    repository_service_pb2 as repository_pb2,
    repository_service_pb2_grpc as repository_grpc,
)
from tests.faults.running import running, wait_until_ready, workers_of
from tests.integration.conftest import Server
from tests.integration.service.asking import reason
from tests.integration.service.test_workers import predict

FRONTS = 2
CONNECTIONS = 16

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT"), reason="no ports for several processes"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(
        "--fronts", str(FRONTS), "--quarantine_deaths", "3", "--unresponsive_seconds", "8"
    ) as server:
        yield server


@contextmanager
def connections(server: Server) -> Iterator[list[grpc.Channel]]:
    """Gives so many connections that no front is without one, but for one case in 2^15."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(server.address, options) for _ in range(CONNECTIONS)]
    try:
        yield channels
    finally:
        for channel in channels:
            channel.close()


def answered(server: Server) -> dict[str, float]:
    """Returns the predictions that each front has answered."""
    with urlopen(f"http://{server.http_address}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if (
                sample.name == "adcaptum_front_request_duration_seconds_count"
                and labels["rpc"] == "Predict"
            ):
                found[labels["front"]] = found.get(labels["front"], 0) + sample.value
    return found


def test_all_fronts_answer_and_one_scrape_shows_all(server: Server) -> None:
    with connections(server) as channels:
        for channel in channels:
            assert pb_grpc.ExplanationServiceStub(channel).Predict(predict(), timeout=30).outputs
    counts = answered(server)
    assert set(counts) == {"0", "1"}
    assert sum(counts.values()) == CONNECTIONS
    assert min(counts.values()) > 0


def test_all_fronts_list_the_same_workers(server: Server) -> None:
    with connections(server) as channels:
        listed = [
            repository_grpc.RepositoryServiceStub(channel)
            .ListWorkers(repository_pb2.ListWorkersRequest(), timeout=30)
            .workers
            for channel in channels
        ]
    for workers in listed:
        assert [(each.id, each.pid, each.state) for each in workers] == [
            (each.id, each.pid, repository_pb2.WORKER_STATE_READY) for each in listed[0]
        ]
        assert [list(each.models) for each in workers] == [["bad", "good"]] * 2


def latest(server: Server) -> int:
    """Returns the process of the further front."""
    lines = [line for line in server.lines if line["event"] == "front started"]
    pid: int = lines[-1]["pid"]
    server.wait_for("front listening", front="1", pid=pid)
    return pid


def test_a_front_that_ends_is_replaced_and_its_counts_stay(server: Server) -> None:
    before = answered(server)
    time.sleep(2.5)  # Each front's counts are read every two seconds.
    first = latest(server)
    os.kill(first, signal.SIGKILL)
    server.wait_for("a front ended", front="1", pid=first)
    with connections(server) as channels:
        for channel in channels:
            stub = pb_grpc.ExplanationServiceStub(channel)
            assert stub.Predict(predict(), timeout=30, wait_for_ready=True).outputs
    while latest(server) == first:
        time.sleep(0.05)
    after = answered(server)
    assert after["1"] >= before["1"]
    assert sum(after.values()) >= sum(before.values())


def test_a_front_that_stands_still_is_replaced(server: Server) -> None:
    stopped = latest(server)
    os.kill(stopped, signal.SIGSTOP)
    server.wait_for("a front does not answer", front="1")
    server.wait_for("a front ended", front="1", pid=stopped, status=-signal.SIGKILL)
    while latest(server) == stopped:
        time.sleep(0.05)


def test_what_one_front_has_quarantined_all_refuse(server: Server) -> None:
    with connections(server) as channels:
        stubs = [pb_grpc.ExplanationServiceStub(channel) for channel in channels]
        with pytest.raises(grpc.RpcError) as caught:
            stubs[0].Predict(predict("bad", 1, "exit"), timeout=120, wait_for_ready=True)
        assert reason(caught.value) == "REQUEST_QUARANTINED"
        wait_until_ready(server)
        pids = [each.pid for each in workers_of(server)]
        for stub in stubs:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(predict("bad", 1, "exit"), timeout=30)
            assert reason(caught.value) == "REQUEST_QUARANTINED"
        # The third death takes the model out of service, at every front.
        with pytest.raises(grpc.RpcError):
            stubs[0].Predict(predict("bad", 3, "segfault"), timeout=120)
        wait_until_ready(server)
        for stub in stubs:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(predict("bad", 4), timeout=30)
            assert reason(caught.value) == "MODEL_QUARANTINED"
            assert stub.Predict(predict(), timeout=30).outputs
        assert [each.pid for each in workers_of(server)] != pids
