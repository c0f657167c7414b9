"""What is seen of a server from outside."""

import json
from collections import defaultdict
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.metrics import metric_names
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.v1 import explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    cells,
    digits,
    explain,
    index,
    method,
    predict,
    streaming,
)
from tests.integration.service.test_sharing import metric

pytestmark = pytest.mark.alone


def get(server: Server, path: str) -> str:
    with build_opener(ProxyHandler({})).open(f"http://{server.http_address}{path}") as reply:
        return str(reply.read().decode())


@pytest.mark.parametrize("service", ["", "adcaptum.v1.ExplanationService", "cells", "digits"])
def test_the_server_and_each_model_are_healthy(service: str, channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_the_health_of_everything_is_listed(channel: grpc.Channel) -> None:
    reply = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
    assert {"", "adcaptum.v1.ExplanationService", "cells", "digits"} <= set(reply.statuses)
    assert reply.statuses["cells"].status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = stub.ServerReflectionInfo(iter([request]))
    names = {service.name for service in reply.list_services_response.service}
    assert {"adcaptum.v1.ExplanationService", "grpc.health.v1.Health"} <= names


def test_the_process_is_alive_and_ready(server: Server) -> None:
    assert get(server, "/healthz") == "alive\n"
    assert get(server, "/readyz") == "ready\n"


def test_an_unknown_page_is_not_found(server: Server) -> None:
    with pytest.raises(HTTPError, match="404") as caught:
        get(server, "/nothing")
    caught.value.close()


def test_what_requests_cost_is_counted(server: Server, stub: ExplanationServiceStub) -> None:
    stub.Predict(predict(cells()))
    stub.Explain(explain(cells(), method("integrated_gradients")))
    text = get(server, "/metrics")
    samples = defaultdict[tuple[str, frozenset[tuple[str, str]]], float](float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "worker"}
            # Of several workers, all together.
            samples[sample.name, frozenset(labels.items())] += sample.value

    def counted(name: str, **labels: str) -> float:
        key = "adcaptum_" + name, frozenset(labels.items())
        assert key in samples
        return samples[key]

    assert counted("request_duration_seconds_count", model="cells", rpc="Predict", code="OK") >= 1
    assert counted("queue_seconds_count", model="cells", rpc="Explain") >= 1
    assert counted("compute_seconds_count", model="cells", rpc="Explain") >= 1
    assert counted("rows_total", model="cells", kind="gradient") >= 50
    assert counted("explanation_rows_count", model="cells", method="integrated_gradients") >= 1
    assert counted("model_ready", model="cells", version="1") >= 1
    assert counted("requests_in_flight", rpc="Explain") == 0


def test_every_exposed_series_has_a_known_name(
    server: Server, stub: ExplanationServiceStub
) -> None:
    stub.Explain(explain(cells()))
    exposed = {
        sample.name
        for family in text_string_to_metric_families(get(server, "/metrics"))
        for sample in family.samples
        if sample.name.startswith("adcaptum_")
    }
    fronts = {name for name in exposed if name.startswith("adcaptum_front_process_")}
    security = metric_names(SecurityMetrics(CollectorRegistry()))
    assert exposed - fronts <= metric_names() | metric_names(FrontMetrics()) | security


def test_a_callers_spelling_is_no_label(server: Server, stub: ExplanationServiceStub) -> None:
    with pytest.raises(grpc.RpcError):
        stub.Predict(predict(cells(), "a_model_that_nobody_has"))
    assert "a_model_that_nobody_has" not in get(server, "/metrics")


def test_a_failed_request_is_logged_with_its_id(
    server: Server, stub: ExplanationServiceStub
) -> None:
    with pytest.raises(grpc.RpcError):
        stub.Explain(pb.ExplainRequest(), metadata=(("x-request-id", "the-bad-one"),))
    line = server.wait_for("request", request_id="the-bad-one")
    assert (line["code"], line["reason"]) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert json.dumps(line)


def test_a_caller_that_went_away_is_logged_with_the_reason(
    server: Server, stub: ExplanationServiceStub
) -> None:
    long = explain(
        digits(50, 97), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
    )
    events = stub.ExplainStream(streaming(long), metadata=(("x-request-id", "gone"),))
    assert next(events).HasField("accepted")
    events.cancel()
    line = server.wait_for("request", request_id="gone")
    assert (line["code"], line["reason"]) == ("CANCELLED", "CANCELLED")


def test_callers_that_go_away_while_events_are_sent_are_logged_too(
    server: Server,
    stub: ExplanationServiceStub,
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    long = explain(
        digits(50, 97), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
    )
    for number in range(60):
        ids = (("x-request-id", f"gone-{number}"),)
        events = stub.ExplainStream(streaming(long), metadata=ids)
        # The first ones leave before the first event, others as later ones are under way.
        for _ in range(number % 4):
            next(events)
        events.cancel()
    ended = ("CANCELLED", "CANCELLED")
    for number in range(60):
        if number % 4:
            line = server.wait_for("request", request_id=f"gone-{number}")
            assert (line["code"], line["reason"]) == ended
    eventually(lambda: metric(server, "adcaptum_requests_in_flight", rpc="ExplainStream") == 0)


def test_the_lag_of_the_event_loop_is_measured_all_the_time(
    server: Server, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    def ticks() -> float:
        return metric(server, "adcaptum_event_loop_lag_seconds_count")

    before = ticks()
    eventually(lambda: ticks() >= before + 2)
