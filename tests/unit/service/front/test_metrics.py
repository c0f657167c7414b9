from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.supervisor.death import CAUSES, KINDS


def test_ends_of_workers_are_counted_from_nought_so_that_the_first_is_an_increase() -> None:
    metrics = FrontMetrics()
    metrics.expect(["0", "1"], 1000)
    assert {*CAUSES} <= {*KINDS, "stopped"}
    for worker in ("0", "1"):
        for kind in KINDS:
            labels = {"worker": worker, "kind": kind}
            assert metrics.registry.get_sample_value("adcaptum_worker_deaths_total", labels) == 0
    assert metrics.registry.get_sample_value("adcaptum_worker_memory_limit_bytes") == 1000
    metrics.expect(["0"], None)
    assert metrics.registry.get_sample_value("adcaptum_worker_memory_limit_bytes") == 0
