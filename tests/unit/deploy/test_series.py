"""Dashboards and rules ask for series that the server exposes, by labels that these have."""

import re
from typing import Any

SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_][\w:]*)\{([^}]*)\}")
SERIES = re.compile(r"(?<![\w:])((?:adcaptum|process)_\w+|\w+:adcaptum_\w+:\w+)")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
STRING = re.compile(r'"[^"]*"')

SCRAPED = {"job", "instance"}  # labels that Prometheus adds
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}  # of prometheus_client


def series(expr: str) -> set[str]:
    """The names of the series in an expression."""
    return set(SERIES.findall(STRING.sub('""', expr)))


def recorded(rules: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The labels of the recorded series, which their names list."""
    names = [rule["record"] for rule in rules if "record" in rule]
    return {name: {"job", *name.split(":")[0].split("_")} for name in names}


def test_every_series_asked_for_exists(
    expressions: list[str], rules: list[dict[str, Any]], exposed: dict[str, frozenset[str]]
) -> None:
    known = {*exposed} | PROCESS | set(recorded(rules))
    asked = set().union(*map(series, expressions))
    assert asked - known == set()


def test_series_are_selected_by_labels_they_have(
    expressions: list[str], rules: list[dict[str, Any]], exposed: dict[str, frozenset[str]]
) -> None:
    labels = {name: SCRAPED | own for name, own in exposed.items()}
    labels |= recorded(rules) | dict.fromkeys(PROCESS, SCRAPED)
    labels |= {"up": SCRAPED, "ALERTS": {"alertname", "alertstate", "severity"}}
    for expr in expressions:
        for name, matchers in SELECTOR.findall(expr):
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", STRING.sub('""', matchers)))
            assert used <= labels[name], expr


def test_series_are_grouped_by_labels_they_have(
    expressions: list[str], rules: list[dict[str, Any]], exposed: dict[str, frozenset[str]]
) -> None:
    of_recorded = recorded(rules)
    for expr in expressions:
        own = [of_recorded.get(name) or exposed.get(name, frozenset()) for name in series(expr)]
        labels = SCRAPED.union({"le", "alertname", "severity"}, *own)
        used = {label for group in GROUPING.findall(expr) for label in group.split(", ")}
        assert used <= labels, expr
