"""Requests share device batches, and none can tell."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import ProxyHandler, build_opener

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server
from tests.integration.service.asking import (
    BYPASS,
    attributions,
    details,
    digits,
    explain,
    explanations,
    index,
    method,
    predict,
    reason,
    streaming,
)

pytestmark = pytest.mark.alone

METHODS: list[tuple[str, dict[str, Any], str]] = [
    ("saliency", {}, ""),
    ("integrated_gradients", {"n_steps": 20}, ""),
    ("input_x_gradient", {}, ""),
    ("gradient_shap", {"n_samples": 6}, ""),
    ("smooth_grad", {"n_samples": 7}, ""),
    ("feature_ablation", {}, ""),
    ("integrated_gradients", {"n_steps": 33}, ""),
    ("saliency", {"abs": False}, ""),
    ("layer_cam", {}, "features"),
    ("conductance", {"n_steps": 9}, "middle"),
    ("deep_lift", {}, ""),
    ("lrp", {}, ""),
]
REQUESTS = [
    explain(
        digits(1 + seed % 3, seed),
        method(name, **params),
        model="digits",
        target=index(seed % 10),
        seed=seed,
        site=spec_pb2.Site(layer=layer),
        # What was kept would share no batch.
        cache=BYPASS,
    )
    for seed, (name, params, layer) in enumerate(METHODS * 2)
]


def metric(server: Server, name: str, **labels: str) -> float:
    with build_opener(ProxyHandler({})).open(f"http://{server.http_address}/metrics") as reply:
        text = reply.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_an_answer_alone_is_the_answer_beside_those_of_other_methods(
    server: Server, stub: ExplanationServiceStub
) -> None:
    alone = [attributions(stub.Explain(request)) for request in REQUESTS]
    begin = threading.Barrier(len(REQUESTS))

    def ask(request: pb.ExplainRequest) -> NDArray[Any]:
        begin.wait()
        return attributions(stub.Explain(request))

    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        together = list(pool.map(ask, REQUESTS))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
    batches = metric(server, "adcaptum_batch_requests_count", model="digits")
    shared = metric(server, "adcaptum_batch_requests_sum", model="digits")
    assert shared > batches


def test_a_caller_that_goes_away_stops_its_rows_and_nobody_elses(
    server: Server, stub: ExplanationServiceStub, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    expected = attributions(stub.Explain(REQUESTS[1]))
    before = metric(server, "adcaptum_wasted_rows_total", model="digits")
    done = metric(server, "adcaptum_rows_total", model="digits")
    long = explain(
        digits(50, 99), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
    )
    stream = stub.ExplainStream(streaming(long))
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("progress")
    neighbour = stub.Explain.future(REQUESTS[1])
    stream.cancel()
    np.testing.assert_allclose(attributions(neighbour.result()), expected, rtol=1e-3, atol=1e-5)
    eventually(lambda: metric(server, "adcaptum_wasted_rows_total", model="digits") > before)
    eventually(lambda: metric(server, "adcaptum_queue_rows") == 0)
    assert metric(server, "adcaptum_rows_total", model="digits") - done < 50 * 902


def test_a_deadline_stops_the_rows(
    server: Server, stub: ExplanationServiceStub, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    before = metric(server, "adcaptum_wasted_rows_total", reason="deadline")
    long = explain(
        digits(50, 98), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
    )
    # Otherwise it would be refused before it began.
    long.on_deadline = pb.ON_DEADLINE_PARTIAL
    with pytest.raises(grpc.RpcError):
        stub.Explain(long, timeout=0.3)
    eventually(lambda: metric(server, "adcaptum_wasted_rows_total", reason="deadline") > before)
    eventually(lambda: metric(server, "adcaptum_queue_rows") == 0)


def test_what_cannot_be_done_in_time_is_refused_at_once(
    server: Server, stub: ExplanationServiceStub
) -> None:
    before = metric(server, "adcaptum_rows_total", model="digits")
    long = explain(
        digits(60, 97), method("integrated_gradients", n_steps=900), model="digits", target=index(0)
    )
    with pytest.raises(grpc.RpcError, match="of computation") as caught:
        stub.Explain(long, timeout=0.5)
    assert reason(caught.value) == "DEADLINE_TOO_SHORT"
    assert float(details(caught.value)["ErrorInfo"].metadata["needed_seconds"]) > 0.5
    assert metric(server, "adcaptum_rows_total", model="digits") == before


def test_a_stream_tells_how_far_it_is(stub: ExplanationServiceStub) -> None:
    request = explain(digits(20), method("integrated_gradients", n_steps=500), model="digits")
    events = list(stub.ExplainStream(streaming(request)))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "result"
    assert set(kinds[1:-1]) == {"progress"}
    done = [event.progress.rows_done for event in events[1:-1]]
    assert done == sorted(done)
    assert events[0].accepted.expected_rows >= 20 * 500
    assert len(explanations(events[-1].result)) == 20


def test_a_prediction_does_not_wait_for_a_long_explanation(stub: ExplanationServiceStub) -> None:
    long = explain(digits(40), method("integrated_gradients", n_steps=900), model="digits")
    explaining = stub.Explain.future(long)
    for _ in range(5):
        stub.Predict(predict(digits(), "digits"), timeout=5)
    overtaken = not explaining.done()
    explaining.cancel()
    assert overtaken
