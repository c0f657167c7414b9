"""What the tests of deploy/ share."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from adcaptum.service.front.metrics import FrontMetrics
from adcaptum.service.metrics import Metrics, metric_names
from adcaptum.service.security.metrics import SecurityMetrics

REPOSITORY = Path(__file__).parents[3]
MACRO = re.compile(r"\$(__rate_interval|\w+)")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own checker, of Debian's package prometheus."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return program


@pytest.fixture(scope="session")
def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the titles of its rows."""
    text = (REPOSITORY / "deploy/grafana/dashboards/adcaptum.json").read_text(encoding="utf-8")
    return [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    return [
        rule
        for path in sorted((REPOSITORY / "deploy/prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


@pytest.fixture(scope="session")
def expressions(panels: list[dict[str, Any]], rules: list[dict[str, Any]]) -> list[str]:
    """The PromQL of every panel and rule, with values in place of Grafana's variables."""
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    values = {"__rate_interval": "5m"}
    return [
        *(MACRO.sub(lambda match: values.get(match[1], ".*"), expr) for expr in shown),
        *(rule["expr"] for rule in rules),
    ]


@pytest.fixture(scope="session")
def exposed() -> dict[str, frozenset[str]]:
    """The labels of every series that a server or a front exposes, by the series' name."""
    names = metric_names() | metric_names(FrontMetrics())
    labels = {}
    for metric in (*vars(Metrics()).values(), *vars(FrontMetrics()).values()):
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            for suffix in ("", "_total", "_bucket", "_count", "_sum"):
                if (name := family.name + suffix) in names:
                    labels[name] = frozenset(metric._labelnames)
    assert set(labels) == names
    for metric in vars(SecurityMetrics(CollectorRegistry())).values():
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels[name] = frozenset(metric._labelnames)
    return labels
