import signal

import pytest

from adcaptum.service.processes.exits import DEVICE_LOST
from adcaptum.service.processes.journal import BATCH, Entry
from adcaptum.service.supervisor import model_deaths
from adcaptum.service.supervisor.death import death
from adcaptum.service.supervisor.model_deaths import ModelDeaths

RAN = [Entry(BATCH, "m", ("a", "b"), 1.0, 0.0)]


@pytest.mark.parametrize(
    ("status", "ended_for", "memory", "kind", "blamed"),
    [
        (7, "", False, "exit", True),
        (0, "", False, "exit", True),
        (-signal.SIGSEGV, "", False, "signal", True),
        (-signal.SIGKILL, "", False, "killed", False),
        (-signal.SIGKILL, "", True, "memory", True),
        (-signal.SIGKILL, "hang", False, "hang", True),
        (-signal.SIGKILL, "unresponsive", False, "unresponsive", True),
        (0, "stopped", False, "stopped", False),
        (DEVICE_LOST, "", False, "device", True),
    ],
)
def test_whoever_ran_is_blamed_unless_the_end_came_from_outside(
    status: int, ended_for: str, memory: bool, kind: str, blamed: bool
) -> None:
    found = death(status, ended_for, memory, RAN)
    assert found.kind == kind
    assert found.requests == (frozenset("ab") if blamed else frozenset())
    assert found.models == (frozenset("m") if blamed else frozenset())


def test_a_model_is_quarantined_after_so_many_deaths_in_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(model_deaths, "monotonic", lambda: now)
    deaths = ModelDeaths(3, 100)
    assert deaths.add(["m", "n"], "x") == []
    assert deaths.is_suspect("m")
    assert not deaths.is_suspect("another")
    now = 90.0
    assert not deaths.is_suspect("m")
    assert deaths.add(["m"], "x") == []
    now = 120.0
    assert deaths.add(["m"], "x") == []
    now = 180.0
    assert deaths.add(["m"], "SIGSEGV") == ["m"]
    assert "SIGSEGV" in deaths.quarantined["m"]
    assert deaths.add(["m"], "x") == []
    deaths.forget()
    assert not deaths.quarantined


def test_models_that_ran_beside_one_that_ends_workers_are_not_quarantined() -> None:
    deaths = ModelDeaths(3, 100)
    for _ in range(4):
        # It may have been either.
        assert deaths.add(["bad", "good"], "x") == []
    assert deaths.is_suspect("bad")
    assert deaths.is_suspect("good")
    assert deaths.add(["bad", "third"], "x") == ["bad"]
    assert not deaths.is_suspect("good")
    assert not deaths.is_suspect("third")
    assert deaths.add(["bad", "good"], "x") == []
    assert deaths.add(["good"], "x") == []
    assert [*deaths.quarantined] == ["bad"]


def test_a_model_that_ran_less_often_is_no_suspect() -> None:
    deaths = ModelDeaths(9, 100)
    deaths.add(["bad"], "x")
    deaths.add(["bad", "good"], "x")
    assert deaths.is_suspect("bad")
    assert not deaths.is_suspect("good")
