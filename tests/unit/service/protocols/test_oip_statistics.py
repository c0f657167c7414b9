"""Statistics of the Open Inference Protocol, and the metrics that they are."""

from prometheus_client import CollectorRegistry, generate_latest

from adcaptum.service.protocols.oip.statistics import Duration, Statistics
from adcaptum.v1 import explanation_pb2

TIMINGS = explanation_pb2.Timings(queue_seconds=0.1, compute_seconds=0.3, batches=2)
HIT = explanation_pb2.CACHE_STATUS_HIT


def test_requests_are_counted_by_model_and_version() -> None:
    registry = CollectorRegistry()
    statistics = Statistics(registry)
    name = "m:explain:lime"
    statistics.succeeded(name, "1", seconds=0.5, examples=3, timings=TIMINGS)
    statistics.succeeded(name, "1", seconds=0.01, examples=3, timings=TIMINGS, cache=HIT)
    statistics.failed(name, "", 0.2)
    statistics.succeeded("m", "2", seconds=1.0, examples=1, timings=TIMINGS)
    (own,) = statistics.of(name)
    assert (own.version, own.examples, own.batches) == ("1", 6, 2)
    assert own.success == Duration(2, 0.51)
    assert own.failure == Duration(1, 0.2)
    assert own.queue == Duration(1, 0.1)
    assert own.compute == Duration(1, 0.3)
    assert own.cached == Duration(1, 0.01)
    assert own.last > 1e9
    assert [(each.name, each.version) for each in statistics.of()] == [("m", "2"), (name, "1")]
    assert statistics.of("m", "3") == []
    text = generate_latest(registry).decode()
    sample = 'adcaptum_oip_requests_total{model="m:explain:lime",outcome="fail",version="1"} 1.0'
    assert sample in text


def test_names_that_nobody_has_become_no_label() -> None:
    registry = CollectorRegistry()
    statistics = Statistics(registry)
    for number in range(100):
        statistics.failed(f"invented{number}", "", 0.1)
        statistics.failed("m", f"{number}", 0.1)
    assert "invented" not in generate_latest(registry).decode()
    statistics.exists("m", "1")
    statistics.failed("m", "77", 0.1)
    assert [each.failure.count for each in statistics.of()] == [0]
