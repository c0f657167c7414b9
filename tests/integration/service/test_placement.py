"""Models on some of the workers, and what becomes of requests when workers are replaced."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    method_pb2,
    model_pb2,
    repository_service_pb2 as repository_pb2,
    repository_service_pb2_grpc as repository_grpc,
    tensor_pb2,
)
from tests.faults.load import reason_of
from tests.faults.running import wait_until_ready, workers_of
from tests.integration.conftest import Server, Start
from tests.integration.service import worker_models
from tests.integration.service.asking import reason

MEMORY = 900 << 20
"""The most memory of a worker; one with these models has less than half."""

READY, FAILED = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_FAILED


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes") / "calls"


@pytest.fixture(scope="module")
def server(
    start_server: Start, tmp_path_factory: pytest.TempPathFactory, notes: Path
) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("placed")
    worker_models.write(repository)
    options = ("--workers", "2", "--worker_memory_bytes", str(MEMORY), "--admin_calls", "true")
    server = start_server(repository, *options, NOTES=str(notes))
    yield server
    assert server.stop(60) == 0


@pytest.fixture
def stub(server: Server) -> Iterator[pb_grpc.ExplanationServiceStub]:
    wait_until_ready(server)
    with grpc.insecure_channel(server.address) as channel:
        yield pb_grpc.ExplanationServiceStub(channel)


def row(first: float) -> tensor_pb2.Tensor:
    values = np.full((1, 8), 0.5, np.float32)
    values[0, 0] = first
    return tensor_pb2.Tensor(datatype="FP32", shape=values.shape, data=values.tobytes())


def predict(model: str, first: float = 0.5) -> pb.PredictRequest:
    return pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[row(first)])


def explain(model: str, steps: int, first: float) -> pb.ExplainRequest:
    method = method_pb2.MethodSpec(name="integrated_gradients")
    method.params["n_steps"].number_value = steps
    return pb.ExplainRequest(
        model=model_pb2.ModelRef(name=model),
        inputs=[row(first)],
        spec=explain_spec_pb2.ExplainSpec(methods=[method]),
        cache=pb.CACHE_POLICY_BYPASS,
    )


def version_of(stub: pb_grpc.ExplanationServiceStub, name: str) -> model_pb2.ModelVersion:
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name=name))
    (version,) = stub.GetModel(request, timeout=30).model.versions
    return version


def metric(server: Server, name: str, **labels: str) -> dict[str, float]:
    """The values of a metric by worker."""
    with urlopen(f"http://{server.http_address}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    return {
        sample.labels.get("worker", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def worker_of_the_request(server: Server) -> repository_pb2.Worker:
    """The worker that has the only request under way."""
    while True:
        having = {worker for worker, n in metric(server, "adcaptum_worker_requests").items() if n}
        for worker in workers_of(server):
            if worker.id in having and worker.state == repository_pb2.WORKER_STATE_READY:
                return worker
        time.sleep(0.02)


def test_models_are_where_their_placement_says(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    placed = server.wait_for("models placed")["workers"]
    assert {*placed} == {"0", "1"}
    for model in ("plain", "slow", "noted"):
        assert model in placed["0"]
        assert model in placed["1"]
    for model in ("single", "other", "leaky"):
        assert sum(model in models for models in placed.values()) == 1
        assert server.wait_for("ready", fronts=1)["models"][model] == "ready"
    assert {worker.id: [*worker.models] for worker in workers_of(server)} == placed
    for model in ("single", "other"):
        (home,) = (worker for worker, models in placed.items() if model in models)
        version = version_of(stub, model)
        assert version.state == READY
        assert [each.worker for each in version.placements] == [home]
        for number in range(4):
            assert stub.Predict(predict(model, number), timeout=30).outputs
        rows = metric(server, "adcaptum_rows_total", model=model)
        assert {worker for worker, count in rows.items() if count} == {home}
    assert [each.worker for each in version_of(stub, "plain").placements] == ["0", "1"]
    listed = stub.ListModels(pb.ListModelsRequest(page_size=3), timeout=30)
    assert [each.name for each in listed.models] == sorted(worker_models.PLACEMENTS)[:3]


@pytest.mark.parametrize(
    ("model", "why"), [("huge", "no worker that it may use has more"), ("graphic", "devices cuda")]
)
def test_a_model_without_a_place_is_failed_with_the_reason(
    server: Server, stub: pb_grpc.ExplanationServiceStub, model: str, why: str
) -> None:
    assert why in server.wait_for("a model has no place", model=model)["reason"]
    version = version_of(stub, model)
    assert version.state == FAILED
    assert why in version.reason
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict(model), timeout=30)
    assert reason(caught.value) == "MODEL_FAILED"


def test_a_stream_goes_on_with_another_accepted(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    request = pb.ExplainStreamRequest(explain=explain("slow", 2000, 0.25))
    kinds = []
    for event in stub.ExplainStream(request, timeout=120):
        kinds.append(event.WhichOneof("event"))
        if kinds == ["accepted", "progress"]:
            os.kill(worker_of_the_request(server).pid, signal.SIGKILL)
    assert kinds.count("accepted") == 2
    assert kinds[-1] == "result"
    assert kinds.count("result") == 1


def test_a_request_that_loses_two_workers_is_not_sent_again(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(stub.Explain, explain("slow", 3000, 0.75), timeout=120)
        first = worker_of_the_request(server)
        os.kill(first.pid, signal.SIGKILL)
        while (second := worker_of_the_request(server)).id == first.id:
            time.sleep(0.05)
        os.kill(second.pid, signal.SIGKILL)
        with pytest.raises(grpc.RpcError) as caught:
            answer.result()
    assert reason(caught.value) == "WORKER_LOST"
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_error_that_loses_the_device_ends_the_worker_with_a_reason(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("lost", 2000.0), timeout=120)
    assert reason(caught.value) == "REQUEST_QUARANTINED"
    ends = metric(server, "adcaptum_worker_deaths_total", kind="device")
    assert sum(ends.values()) == 2
    assert "its device was lost" in {each.reason for each in workers_of(server)}
    wait_until_ready(server)
    for model in ("lost", "plain"):
        assert stub.Predict(predict(model), timeout=60).outputs


def test_a_worker_with_too_much_memory_is_replaced_without_a_failed_request(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    (home,) = (each for each in workers_of(server) if "leaky" in each.models)
    before = metric(server, "adcaptum_worker_deaths_total", kind="memory")[home.id]
    end, leaks = time.monotonic() + 150, True
    while True:
        # Each such answer leaves 32 MiB behind.
        first = 1000.0 if leaks else 0.5
        assert stub.Predict(predict("leaky", first), timeout=60).outputs
        assert stub.Predict(predict("plain"), timeout=60).outputs
        (now,) = (each for each in workers_of(server) if each.id == home.id)
        if now.pid != home.pid and "memory" in now.reason:
            break
        leaks = now.pid == home.pid and now.memory_bytes < MEMORY
        assert time.monotonic() < end
        time.sleep(0.3)
    assert now.reason == "it took too much memory"
    assert metric(server, "adcaptum_worker_deaths_total", kind="memory")[home.id] == before + 1
    assert version_of(stub, "leaky").state == READY
    assert server.wait_for("a worker has too much memory")["pid"] == home.pid


def test_new_workers_have_tried_their_models_before_requests_come(
    server: Server, stub: pb_grpc.ExplanationServiceStub, notes: Path
) -> None:
    marked = 77.0
    before = {str(each.pid) for each in workers_of(server)}
    server.process.send_signal(signal.SIGHUP)
    while before & {str(each.pid) for each in workers_of(server)}:
        assert stub.Predict(predict("noted", marked), timeout=60).outputs
    for _ in range(50):
        assert stub.Predict(predict("noted", marked), timeout=60).outputs
    calls: dict[str, list[str]] = {}
    for line in notes.read_text().splitlines():
        pid, first = line.split()
        calls.setdefault(pid, []).append(first)
    new = [firsts for pid, firsts in calls.items() if pid not in before]
    served = [firsts for firsts in new if str(marked) in firsts]
    assert served
    for firsts in served:
        assert firsts.index(str(marked)) > 5


def test_a_call_replaces_the_workers_under_load_and_no_request_fails(
    server: Server, stub: pb_grpc.ExplanationServiceStub
) -> None:
    before = {each.id: each for each in workers_of(server)}
    stop = threading.Event()

    def load(client: int) -> int:
        count = 0
        while not stop.is_set():
            assert stub.Predict(predict("plain", client), timeout=60).outputs
            assert stub.Explain(explain("single", 20, client), timeout=60).results
            count += 1
        return count

    with ThreadPoolExecutor() as pool, grpc.insecure_channel(server.address) as channel:
        counts = [pool.submit(load, client) for client in range(4)]
        repository = repository_grpc.RepositoryServiceStub(channel)
        try:
            only = repository.RestartWorkers(
                repository_pb2.RestartWorkersRequest(workers=["1"]), timeout=120
            )
            replaced = repository.RestartWorkers(
                repository_pb2.RestartWorkersRequest(), timeout=180
            )
        finally:
            stop.set()
        assert all(count.result() for count in counts)
        with pytest.raises(grpc.RpcError) as caught:
            repository.RestartWorkers(repository_pb2.RestartWorkersRequest(workers=["2"]))
    assert reason(caught.value) == "FIELD_INVALID"
    assert [each.id for each in only.workers] == ["1"]
    assert [each.id for each in replaced.workers] == ["0", "1"]
    assert replaced.workers[0].restarts == before["0"].restarts + 1
    assert replaced.workers[1].restarts == before["1"].restarts + 2
    pids = {each.pid for each in (*before.values(), *only.workers, *replaced.workers)}
    assert len(pids) == 5


async def test_what_is_under_way_at_sigterm_is_answered(
    start_server: Start, tmp_path: Path
) -> None:
    worker_models.write(tmp_path)
    server = start_server(tmp_path, "--workers", "2", NOTES=os.devnull)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = pb_grpc.ExplanationServiceStub(channel)
        slow = [stub.Explain(explain("slow", 500, n / 16), timeout=60) for n in range(8)]
        ended: list[str] = []

        async def client() -> None:
            while True:
                try:
                    await stub.Predict(predict("plain"), timeout=60)
                except grpc.aio.AioRpcError as error:
                    ended.append(reason_of(error))
                    return

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await asyncio.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        for reply in await asyncio.gather(*slow):
            assert reply.results[0].explanations
        await asyncio.gather(*clients)
    assert {*ended} == {"DRAINING"}
    assert await asyncio.to_thread(server.process.wait, 60) == 0
