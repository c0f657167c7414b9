"""The audit log."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.security.audit import AuditLog
from adcaptum.v1 import repository_service_pb2 as pb
from tests.unit.service.security.visiting import OURS, REPOSITORY

RESTART = pb.RestartWorkersRequest(workers=["1"])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_administrative_calls_are_noted_with_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    audit.note(REPOSITORY + "RestartWorkers", "key:root", "id-1", RESTART, "OK")
    audit.note(REPOSITORY + "ListWorkers", "key:root", "id-2", pb.ListWorkersRequest(), "OK")
    audit.note(OURS + "Predict", "key:a", "id-3", None, "OK")
    audit.note("grpc.health.v1.Health/Check", "key:a", "id-4", None, "OK")
    audit.note(REPOSITORY + "RestartWorkers", "ipv4:10.0.0.1", "id-5", None, "UNAUTHENTICATED")
    (line,) = lines(path)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "caller": "key:root",
        "service": "adcaptum.v1.RepositoryService",
        "call": "RestartWorkers",
        "request": {"workers": ["1"]},
        "result": "OK",
        "request_id": "id-1",
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_appended_and_the_file_may_be_renamed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"before": 1}\n')
    audit = AuditLog(path)
    audit.note(REPOSITORY + "RestartWorkers", "a", "1", RESTART, "OK")
    assert [*lines(path)[0]] == ["before"]
    assert len(lines(path)) == 2
    path.rename(tmp_path / "old")
    audit.note(REPOSITORY + "RestartWorkers", "a", "2", RESTART, "INTERNAL")
    assert [each["result"] for each in lines(path)] == ["INTERNAL"]


def test_a_flood_of_denied_calls_does_not_fill_the_disk(tmp_path: Path) -> None:
    now = [0.0]
    audit = AuditLog(tmp_path / "audit.jsonl", lambda: now[0])
    for _ in range(100):
        audit.note(REPOSITORY + "RestartWorkers", "key:a", "1", None, "PERMISSION_DENIED")
    now[0] = 2.0
    audit.note(REPOSITORY + "RestartWorkers", "key:a", "2", None, "PERMISSION_DENIED")
    first, second = lines(tmp_path / "audit.jsonl")
    assert "denied_before" not in first
    assert second["denied_before"] == 99


def test_without_a_file_the_log_has_the_lines() -> None:
    large = pb.RestartWorkersRequest(workers=["x" * 5000])
    with capture_logs() as logged:
        AuditLog(None).note(REPOSITORY + "RestartWorkers", "a", "1", large, "OK")
    (line,) = logged
    assert line["event"] == "audit"
    assert len(line["request"]) < 2100


def test_a_file_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="audit_log"):
        AuditLog(tmp_path / "none" / "audit.jsonl")
