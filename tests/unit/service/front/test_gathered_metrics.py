"""The metrics of workers in one text."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from adcaptum.service.front import gathered_metrics
from adcaptum.service.front.gathered_metrics import GatheredMetrics
from adcaptum.service.front.metrics import FrontMetrics


class Worker:
    """A slot whose processes have registries."""

    def __init__(self, worker: str) -> None:
        self.id = worker
        self.process: Any = None
        self.start()

    def start(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("rows", "Rows.", ("model",), registry=self.registry)
        self.seconds = Histogram("seconds", "Seconds.", buckets=(1.0,), registry=self.registry)
        self.depth = Gauge("depth", "Depth.", registry=self.registry)
        self.process = SimpleNamespace(
            listening=True,
            died=SimpleNamespace(done=lambda: False),
            seat=SimpleNamespace(http_socket=self),
        )


@pytest.fixture(autouse=True)
def _fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(worker: Worker) -> str:
        return generate_latest(worker.registry).decode()

    monkeypatch.setattr(gathered_metrics, "_fetch", fetch)


async def samples(gathered: GatheredMetrics) -> dict[tuple[str, str, str], float]:
    text, _ = await gathered.answer("")
    return {
        (sample.name, sample.labels.get("worker", ""), sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.labels.get("le") != "1.0"
    }


async def test_workers_have_a_label_and_families_one_head() -> None:
    first, second = Worker("0"), Worker("1")
    first.rows.labels("a").inc(3)
    second.rows.labels("a").inc(4)
    gathered = GatheredMetrics(CollectorRegistry(), cast("Any", [first, second]))
    found = await samples(gathered)
    assert found["rows_total", "0", "a"] == 3
    assert found["rows_total", "1", "a"] == 4
    assert found["depth", "0", ""] == 0
    text, _ = await gathered.answer("")
    assert text.count(b"# TYPE rows_total counter") == 1


async def test_counters_outlive_a_process_and_gauges_do_not() -> None:
    worker = Worker("0")
    worker.rows.labels("a").inc(3)
    worker.rows.labels("gone").inc(5)
    worker.seconds.observe(0.5)
    worker.depth.set(9)
    gathered = GatheredMetrics(CollectorRegistry(), cast("Any", [worker]))
    before = await samples(gathered)
    assert (before["rows_total", "0", "a"], before["depth", "0", ""]) == (3, 9)
    worker.start()
    worker.rows.labels("a").inc(1)
    worker.seconds.observe(2.5)
    for _ in range(2):
        after = await samples(gathered)
        assert after["rows_total", "0", "a"] == 4
        assert after["rows_total", "0", "gone"] == 5
        assert after["seconds_count", "0", ""] == 2
        assert after["seconds_sum", "0", ""] == 3.0
        assert after["depth", "0", ""] == 0


async def test_of_a_worker_without_a_process_counters_are_left() -> None:
    worker = Worker("0")
    worker.rows.labels("a").inc(3)
    gathered = GatheredMetrics(CollectorRegistry(), cast("Any", [worker]))
    await samples(gathered)
    worker.process.died = SimpleNamespace(done=lambda: True)
    worker.process = None
    found = await samples(gathered)
    assert found["rows_total", "0", "a"] == 3
    assert ("depth", "0", "") not in found


async def test_several_fronts_have_a_label_and_one_has_the_workers_metrics() -> None:
    own, other = FrontMetrics(), FrontMetrics()
    for metrics, count in ((own, 1), (other, 2)):
        metrics.retried.inc(count)
        metrics.worker_requests.labels("0").set(count)
        metrics.worker_up.labels("0").set(count)
    front = Worker("1")
    front.registry = other.registry
    gathered = GatheredMetrics(own.registry, cast("Any", [Worker("0")]), cast("Any", [front]))
    text, _ = await gathered.answer("")
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families)
    found = {
        (sample.name, sample.labels.get("front", "")): sample.value
        for family in families
        for sample in family.samples
    }
    assert found["adcaptum_front_retried_requests_total", "0"] == 1
    assert found["adcaptum_front_retried_requests_total", "1"] == 2
    assert found["adcaptum_worker_requests", "0"] == 1
    assert found["adcaptum_worker_requests", "1"] == 2
    assert found["adcaptum_worker_up", ""] == 1
    assert ("adcaptum_worker_up", "1") not in found
