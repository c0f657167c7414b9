"""Worker processes under a front: what callers see of them, and of their ends."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    model_pb2,
    repository_service_pb2 as repository_pb2,
)
from tests.faults import scenarios
from tests.faults.load import row
from tests.faults.repository import DEEDS
from tests.faults.running import running, wait_until_ready, workers_of
from tests.integration.conftest import Server
from tests.integration.service.asking import reason

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--quarantine_deaths", "3") as server:
        yield server


@pytest.fixture
def stub(server: Server) -> Iterator[pb_grpc.ExplanationServiceStub]:
    wait_until_ready(server)
    with grpc.insecure_channel(server.address) as channel:
        yield pb_grpc.ExplanationServiceStub(channel)


def predict(model: str = "good", seed: int = 0, deed: str = "") -> pb.PredictRequest:
    first = DEEDS[deed] if deed else None
    return pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[row(seed, first)])


def rows_total(server: Server) -> float:
    with urlopen(f"http://{server.http_address}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "adcaptum_rows_total" and "worker" in sample.labels
    )


def test_the_front_has_no_torch_in_it(server: Server, stub: pb_grpc.ExplanationServiceStub) -> None:
    stub.Predict(predict(), timeout=30)
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "torch" not in mapped
    assert "cygrpc" in mapped
    (worker, _) = workers_of(server)
    assert "torch" in Path(f"/proc/{worker.pid}/maps").read_text()


def test_workers_are_listed_with_what_they_serve(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    workers = workers_of(server)
    assert [each.id for each in workers] == ["0", "1"]
    for each in workers:
        assert each.device == "cpu"
        assert each.state == repository_pb2.WORKER_STATE_READY
        assert list(each.models) == ["bad", "good"]
        assert each.memory_bytes > 50 << 20
        os.kill(each.pid, 0)
    model = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="good"))).model
    assert [each.worker for each in model.versions[0].placements] == ["0", "1"]
    cores = os.sched_getaffinity(0)
    if len(cores) == len(workers):
        assert [os.sched_getaffinity(each.pid) for each in workers] == [{each} for each in cores]


def test_a_killed_worker_loses_no_request_and_no_count(server: Server) -> None:
    before = rows_total(server)
    outcome = asyncio.run(scenarios.under_load("kill -9", server, scenarios.kills(1)))
    tally = outcome.tally
    assert (tally.lost, tally.wrong, tally.refused) == (0, 0, {}), tally.notes
    assert tally.right > 100
    assert rows_total(server) > before
    assert sum(each.restarts for each in workers_of(server)) >= 1


def test_a_roll_fails_no_request(server: Server) -> None:
    outcome = asyncio.run(scenarios.under_load("SIGHUP", server, scenarios.roll))
    tally = outcome.tally
    assert (tally.lost, tally.wrong, tally.refused, tally.retryable) == (0, 0, {}, 0), tally.notes


def test_rows_that_end_two_workers_are_refused_and_others_answered(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("bad", 1, "exit"), timeout=120)
    assert reason(caught.value) == "REQUEST_QUARANTINED"
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    wait_until_ready(server)
    before = [each.pid for each in workers_of(server)]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("bad", 1, "exit"), timeout=120)
    assert reason(caught.value) == "REQUEST_QUARANTINED"
    assert [each.pid for each in workers_of(server)] == before
    assert stub.Predict(predict("bad", 2), timeout=30).outputs
    assert stub.Predict(predict("good", 2), timeout=30).outputs


def test_a_model_that_ends_workers_repeatedly_is_out_of_service_until_a_reload(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    # Two deaths are the test's before; the third is one too many.
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("bad", 3, "segfault"), timeout=120)
    assert reason(caught.value) in {"MODEL_QUARANTINED", "REQUEST_QUARANTINED"}
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("bad", 4), timeout=30)
    assert reason(caught.value) == "MODEL_QUARANTINED"
    wait_until_ready(server)
    model = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="bad"))).model
    assert model.versions[0].state == model_pb2.MODEL_STATE_QUARANTINED
    assert "SIGSEGV" in model.versions[0].reason
    assert server.wait_for("a model is quarantined")["model"] == "bad"
    with urlopen(f"http://{server.http_address}/metrics", timeout=20) as reply:
        lines = reply.read().decode().splitlines()
    assert 'adcaptum_model_quarantined{model="bad"} 1.0' in lines
    assert 'adcaptum_model_quarantined{model="good"} 0.0' in lines
    assert stub.Predict(predict("good", 2), timeout=30).outputs
    pids = {each.pid for each in workers_of(server)}
    server.process.send_signal(signal.SIGHUP)
    while pids & {each.pid for each in workers_of(server)}:
        time.sleep(0.1)
    wait_until_ready(server)
    assert stub.Predict(predict("bad", 4), timeout=30).outputs


def test_a_port_in_use_ends_a_front_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    port = server.address.rpartition(":")[2]
    command = [sys.executable, "-m", "adcaptum.service", "--repository", str(tmp_path)]
    command += ["--port", port, "--http_port", "0", "--workers", "2"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "cannot start" in ended.stderr
    assert [*tmp_path.iterdir()] == []


def test_the_command_line_logs_nothing_but_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adcaptum.service.cli", "serve", str(tmp_path)]
    command += ["--port", "0", "--http-port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    server = Server(process)
    reader = threading.Thread(target=server.read)
    reader.start()
    try:
        server.wait_for("ready", 120)
        assert server.stop(60) == 0
    finally:
        process.kill()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
    assert [line for line in server.lines if line["event"] == "unreadable"] == []


def test_workers_end_with_their_front() -> None:
    with running() as server:
        pids = [each.pid for each in workers_of(server)]
        assert server.stop(60) == 0
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
