"""The configuration and rules of Prometheus, judged by its own checker."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from adcaptum.service.supervisor.death import KINDS


def run(*command: str | Path) -> str:
    """Runs a program and returns nothing, or what it said when it failed."""
    done = subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout if done.returncode else ""


def test_the_configuration_is_valid(promtool: str, repository: Path) -> None:
    assert run(promtool, "check", "config", repository / "deploy/prometheus/prometheus.yml") == ""


def test_the_rules_pass_their_own_tests(promtool: str, repository: Path) -> None:
    tests = sorted((repository / "deploy/prometheus/tests").glob("*.yml"))
    assert tests
    assert run(promtool, "test", "rules", *tests) == ""


def test_every_expression_of_the_dashboard_is_promql(
    promtool: str, expressions: list[str], tmp_path: Path
) -> None:
    rules = [
        {"record": f"expression:{number}", "expr": expr} for number, expr in enumerate(expressions)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), "utf-8")
    assert run(promtool, "check", "rules", path) == ""


def test_every_rule_has_a_test_that_names_it(repository: Path, rules: list[dict[str, Any]]) -> None:
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (repository / "deploy/prometheus/tests").glob("*.yml")
    )
    names = [rule.get("alert") or rule["record"] for rule in rules]
    assert [name for name in names if name not in tests] == []


def test_every_alert_says_how_bad_it_is_and_what_to_do(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        if "alert" in rule:
            assert rule["alert"].startswith("Adcaptum")
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}


def test_every_alert_has_its_paragraph_of_the_runbook_and_every_paragraph_its_alert(
    repository: Path, rules: list[dict[str, Any]]
) -> None:
    alerts = [rule["alert"] for rule in rules if "alert" in rule]
    for rule in rules:
        if "alert" in rule:
            page, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert (page, anchor) == ("docs/how-to/alerts.md", rule["alert"].lower())
    text = (repository / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (Adcaptum\w+)$", text, flags=re.MULTILINE) == alerts


def test_the_runbook_has_every_kind_of_end_of_a_worker(repository: Path) -> None:
    text = (repository / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"## AdcaptumWorkersEnd\n(.*?)\n##", text, flags=re.DOTALL)
    assert set(re.findall(r"^- (.*?):", paragraph, flags=re.MULTILINE)) == {
        "`exit`, `signal`",
        *(f"`{kind}`" for kind in KINDS if kind not in {"exit", "signal"}),
    }


def test_recorded_series_are_named_for_the_labels_they_keep(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        if "record" in rule:
            level, _, _ = rule["record"].split(":")
            groups = re.findall(r"sum by \(([^)]*)\)", rule["expr"])
            kept = [set(group.split(", ")) - {"le"} for group in groups]
            assert all(labels == {"job", *level.split("_")} for labels in kept)
