"""A real Prometheus scrapes a real server."""

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.request import ProxyHandler, build_opener

import grpc
import pytest

from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as messages,
    method_pb2,
    model_pb2,
    tensor_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub

DASHBOARD = Path(__file__).parents[3] / "deploy/grafana/dashboards/adcaptum.json"
FEATURES = 30


class Server(Protocol):
    """A started server with the model cells."""

    @property
    def address(self) -> str: ...

    @property
    def http_address(self) -> str: ...


class Prometheus(Protocol):
    """A running Prometheus."""

    def query(self, expr: str) -> list[dict[str, Any]]: ...

    def wait_for(self, expr: str) -> list[dict[str, Any]]: ...


@pytest.fixture
def scraped(server: Server, prometheus: Callable[[str], Prometheus]) -> Prometheus:
    """A Prometheus that has reached the server."""
    started = prometheus(server.http_address)
    started.wait_for('up{job="adcaptum"} == 1')
    return started


@pytest.fixture
def stub(server: Server) -> Iterator[ExplanationServiceStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield ExplanationServiceStub(channel)


def measurements() -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(
        name="measurements",
        datatype="FP32",
        shape=[1, FEATURES],
        data=struct.pack(f"<{FEATURES}f", *range(FEATURES)),
    )


def predict(stub: ExplanationServiceStub) -> None:
    model = model_pb2.ModelRef(name="cells")
    stub.Predict(messages.PredictRequest(model=model, inputs=[measurements()]), timeout=30)


def explain(stub: ExplanationServiceStub) -> None:
    request = messages.ExplainRequest(
        model=model_pb2.ModelRef(name="cells"),
        inputs=[measurements()],
        spec=explain_spec_pb2.ExplainSpec(
            methods=[method_pb2.MethodSpec(name="integrated_gradients")]
        ),
    )
    stub.Explain(request, timeout=30)


def test_a_prediction_is_seen(scraped: Prometheus, stub: ExplanationServiceStub) -> None:
    predict(stub)
    labels = 'model="cells", rpc="Predict"'
    assert scraped.wait_for(f'adcaptum_request_duration_seconds_count{{{labels}, code="OK"}} > 0')
    assert scraped.wait_for(f"adcaptum_queue_seconds_count{{{labels}}} > 0")
    assert scraped.wait_for(f"adcaptum_compute_seconds_count{{{labels}}} > 0")
    assert scraped.wait_for('adcaptum_rows_total{model="cells", kind="predict"} > 0')
    assert scraped.wait_for('adcaptum_batch_rows_count{model="cells", kind="predict"} > 0')


def test_an_explanation_is_seen(scraped: Prometheus, stub: ExplanationServiceStub) -> None:
    explain(stub)
    labels = 'model="cells", method="integrated_gradients"'
    # The alert on explanations cut short goes by the reason's spelling.
    assert scraped.wait_for(f'adcaptum_explanations_total{{{labels}, stop_reason="completed"}} > 0')
    assert scraped.wait_for(f"adcaptum_explanation_rows_sum{{{labels}}} >= 50")
    assert scraped.wait_for('adcaptum_rows_total{model="cells", kind="gradient"} >= 50')


def test_the_rules_record_what_happens(scraped: Prometheus, stub: ExplanationServiceStub) -> None:
    predict(stub)
    scraped.wait_for('adcaptum_request_duration_seconds_count{rpc="Predict"}')
    predict(stub)
    assert scraped.wait_for('rpc:adcaptum_requests:rate5m{rpc="Predict"} > 0')
    assert scraped.wait_for('rpc:adcaptum_request_duration_seconds:p99_rate5m{rpc="Predict"} > 0')
    assert scraped.query('rpc:adcaptum_request_errors:ratio_rate5m{rpc="Predict"} >= 0')


def test_loaded_models_are_ready(scraped: Prometheus) -> None:
    ready = scraped.wait_for("adcaptum_model_ready == 1")
    assert {"cells", "digits"} <= {series["metric"]["model"] for series in ready}


def test_every_query_of_the_dashboard_is_answered(
    scraped: Prometheus, stub: ExplanationServiceStub
) -> None:
    predict(stub)
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", "1m")
            scraped.query(re.sub(r"\$\w+", ".*", expr))


def test_the_checker_of_prometheus_has_nothing_to_say_about_the_metrics(
    server: Server, stub: ExplanationServiceStub
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    explain(stub)
    with build_opener(ProxyHandler({})).open(f"http://{server.http_address}/metrics") as reply:
        metrics = reply.read()
    done = subprocess.run(
        [promtool, "check", "metrics"], check=False, input=metrics, capture_output=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
