"""How a server starts and stops, and what a bad model does to it."""

import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Start
from tests.integration.service.asking import (
    cells,
    digits,
    explain,
    explanations,
    index,
    method,
    predict,
    reason,
    streaming,
)
from tests.integration.service.conftest import Eventually

FACTORIES = '''
import torch, threading, os, time
from pathlib import Path
from torch import nn

class Dependent(nn.Module):
    """Subtracts the batch's mean: a row depends on its neighbours."""
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 2)
    def forward(self, x):
        y = self.linear(x)
        return y - y.mean(0) + y.sum() * 0

class Raising(nn.Module):
    """Raises on rows whose first element is above 1000."""
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 2)
    def forward(self, x):
        if (x[:, 0] > 1000).any():
            raise ArithmeticError("secret of the model")
        return self.linear(x)

class Rounding(nn.Module):
    """Has no gradient."""
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(30, 2)
    def forward(self, x):
        with torch.no_grad():
            return self.linear(x).round()

class Lazy(Raising):
    def forward(self, x):
        Path(os.environ["MEASURED"]).touch()
        time.sleep(0.5)
        return self.linear(x)

def slow():
    with open(os.environ["GATE"]) as gate:
        gate.read()
    return Raising().eval()
'''

DECLARATION = """
factory = "odd_models:{factory}"
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 30]
[[outputs]]
name = "y"
shape = [-1, 2]
kind = "logits"
"""


@pytest.fixture
def odd_repository(tmp_path: Path) -> Path:
    """A folder for models, and the module that makes them."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "odd_models.py").write_text(FACTORIES)
    (tmp_path / "models").mkdir()
    return tmp_path


def add(folder: Path, name: str, factory: str, weights: Path | None = None) -> None:
    import safetensors.torch
    import torch

    version = folder / "models" / name / "1"
    version.mkdir(parents=True)
    (version.parent / "model.toml").write_text(DECLARATION.format(factory=factory))
    state = {
        f"linear.{key}": torch.linspace(-1, 1, 60).view(2, 30) if key == "weight" else torch.ones(2)
        for key in ("weight", "bias")
    }
    safetensors.torch.save_file(state, version / "weights.safetensors")


def test_a_server_drains(start_server: Start, repository: Path) -> None:
    server = start_server(repository)
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        long = explain(
            digits(20), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
        )
        stream = stub.ExplainStream(streaming(long))
        assert next(stream).HasField("accepted")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        server.wait_for("draining")
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(predict(cells()))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "DRAINING"
        assert [*stream][-1].HasField("result")
    stopping.join()
    assert server.process.returncode == 0
    assert server.wait_for("stopped")["failed"] is False


def test_a_server_that_is_idle_stops_at_once(start_server: Start, repository: Path) -> None:
    server = start_server(repository)
    assert server.stop(10) == 0


@pytest.mark.one_process
def test_a_server_without_workers_stops_on_sighup_as_on_sigterm(
    start_server: Start, repository: Path
) -> None:
    server = start_server(repository)
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(60) == 0
    assert server.wait_for("stopped")["failed"] is False


@pytest.mark.one_process
def test_a_server_that_stops_while_models_wait_to_be_measured_says_nothing_odd(
    start_server: Start, odd_repository: Path, eventually: Eventually
) -> None:
    for name in ("first", "second", "third"):
        add(odd_repository, name, "Lazy")
    server = start_server(
        odd_repository / "models",
        ready=False,
        PYTHONPATH=str(odd_repository / "code"),
        ADCAPTUM_ALLOWED_PACKAGES="odd_models",
        MEASURED=str(odd_repository / "measured"),
        ADCAPTUM_DRAIN_SECONDS="1",
    )
    eventually((odd_repository / "measured").exists)
    time.sleep(1)  # until the others wait for their turn
    server.stop()
    unreadable = [line["line"] for line in server.lines if line["event"] == "unreadable"]
    assert not [line for line in unreadable if "never awaited" in line]


@pytest.mark.parametrize("option", ["--port", "--http_port"])
def test_a_server_whose_port_is_taken_says_so(
    option: str, start_server: Start, repository: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start_server(repository, option, port, ready=None)
        told = server.wait_for("cannot start")["error"]
        assert told.startswith(f"{option.strip('-')} {port} of 127.0.0.1: ")
        assert server.process.wait(20) == 1


def test_a_repository_that_does_not_exist_is_told(start_server: Start, tmp_path: Path) -> None:
    server = start_server(tmp_path / "nowhere", ready=None)
    assert "not a folder" in server.wait_for("cannot start")["error"]
    assert server.process.wait(20) == 1


@pytest.mark.parametrize("device", ["cuda:63", "nowhere"])
def test_a_device_that_is_not_there_is_told(
    device: str, start_server: Start, tmp_path: Path
) -> None:
    server = start_server(tmp_path, "--device", device, ready=None)
    told = server.wait_for("cannot start")["error"]
    assert told.startswith(f"device '{device}' cannot be used: ")
    assert server.process.wait(20) == 1
    assert not [line for line in server.lines if line["event"] == "listening"]


def test_a_repository_without_models_is_told(start_server: Start, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    assert server.wait_for("no models")["repository"] == str(tmp_path)
    assert server.stop(10) == 0


@pytest.mark.one_process
def test_a_server_answers_while_a_model_loads(start_server: Start, odd_repository: Path) -> None:
    import os

    gate = odd_repository / "gate"
    os.mkfifo(gate)
    add(odd_repository, "slow", "slow")
    code = str(odd_repository / "code")
    server = start_server(
        odd_repository / "models",
        ready=False,
        PYTHONPATH=code,
        GATE=str(gate),
        ADCAPTUM_ALLOWED_PACKAGES="odd_models",
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        request = pb.GetModelRequest(model=model_pb2.ModelRef(name="slow"))
        assert stub.GetModel(request).model.versions[0].state == model_pb2.MODEL_STATE_LOADING
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "slow"):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(predict(cells(), "slow"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "MODEL_LOADING"
        with pytest.raises(HTTPError, match="503") as unready:
            build_opener(ProxyHandler({})).open(f"http://{server.http_address}/readyz")
        unready.value.close()
        gate.write_text("open")
        server.wait_for("ready")
        assert stub.Predict(predict(cells(), "slow")).outputs


def test_a_model_that_does_not_load_says_why_and_others_serve(
    start_server: Start, odd_repository: Path, models: Path
) -> None:
    shutil.copytree(models / "cells", odd_repository / "models" / "cells")
    add(odd_repository, "broken", "nothing_there")
    server = start_server(
        odd_repository / "models",
        PYTHONPATH=str(odd_repository / "code"),
        ADCAPTUM_ALLOWED_PACKAGES="odd_models",
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        request = pb.GetModelRequest(model=model_pb2.ModelRef(name="broken"))
        (version,) = stub.GetModel(request).model.versions
        assert version.state == model_pb2.MODEL_STATE_FAILED
        assert "nothing_there" in version.reason
        assert stub.Predict(predict(cells())).outputs


def test_odd_models_are_served_for_what_they_are(start_server: Start, odd_repository: Path) -> None:
    for name in ("Dependent", "Raising", "Rounding"):
        add(odd_repository, name.lower(), name)
    server = start_server(
        odd_repository / "models",
        PYTHONPATH=str(odd_repository / "code"),
        ADCAPTUM_ALLOWED_PACKAGES="odd_models",
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        _dependent_model_is_served_a_row_at_a_time(stub)
        _model_without_gradients_runs_methods_that_need_none(stub)
        _request_on_which_the_model_raises_fails_alone(stub)
    secret = server.wait_for("request", code="FAILED_PRECONDITION", reason="MODEL_RAISED")
    assert "secret of the model" in json_text(secret)


def _dependent_model_is_served_a_row_at_a_time(stub: ExplanationServiceStub) -> None:
    model = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="dependent"))).model
    assert not model.versions[0].checks.independent
    reply = stub.Predict(predict(cells(3), "dependent"))
    assert reply.timings.batches == 3


def _model_without_gradients_runs_methods_that_need_none(stub: ExplanationServiceStub) -> None:
    reference = model_pb2.ModelRef(name="rounding")
    methods = stub.ListMethods(pb.ListMethodsRequest(model=reference)).methods
    available = {each.name: each.availability.available for each in methods}
    assert available["feature_ablation"]
    assert not available["saliency"]
    assert explanations(
        stub.Explain(explain(cells(), method("feature_ablation"), model="rounding"))
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.Explain(explain(cells(), method("saliency"), model="rounding"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(caught.value) == "METHOD_UNSUPPORTED"


def _request_on_which_the_model_raises_fails_alone(stub: ExplanationServiceStub) -> None:
    bad = cells()
    bad[0, 0] = 2000
    good = [
        stub.Explain.future(explain(cells(seed=seed), method("saliency"), model="raising"))
        for seed in range(8)
    ]
    culprit = stub.Explain.future(explain(bad, method("saliency"), model="raising"))
    for each in good:
        assert explanations(each.result())
    error: Any = culprit.exception()
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(error) == "MODEL_RAISED"
    assert "secret" not in error.details()


def json_text(line: dict[str, object]) -> str:
    import json

    return json.dumps(line)


def test_calls_that_come_while_a_server_stops_are_told_that_it_does(
    start_server: Start, repository: Path
) -> None:
    server = start_server(repository)
    codes: list[grpc.StatusCode] = []

    def call() -> None:
        with grpc.insecure_channel(
            server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = ExplanationServiceStub(channel)
            while len(codes) < 40:
                for each in [stub.Predict.future(predict(cells())) for _ in range(10)]:
                    error: Any = each.exception()
                    if error is not None:
                        codes.append(error.code())

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert server.stop() == 0
    for caller in callers:
        caller.join()
    assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
