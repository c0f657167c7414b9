"""The names of the metrics."""

from prometheus_client.exposition import generate_latest

from adcaptum.service.metrics import Metrics, metric_names


def test_histograms_counters_and_gauges_are_named_as_queries_write_them() -> None:
    names = metric_names()
    assert "adcaptum_request_duration_seconds_bucket" in names
    assert "adcaptum_rows_total" in names
    assert "adcaptum_queue_rows" in names
    assert not any(name.endswith("_created") for name in names)


def test_servers_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.rows.labels("m", "forward").inc()
    assert b'adcaptum_rows_total{kind="forward",model="m"} 1.0' in generate_latest(one.registry)
    assert b'adcaptum_rows_total{kind="forward"' not in generate_latest(two.registry)
