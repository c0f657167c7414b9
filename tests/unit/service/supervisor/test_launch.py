import json
import os
import sys
from pathlib import Path

import pytest

from adcaptum.service import modes
from adcaptum.service.processes.seat import Seat
from adcaptum.service.settings import Settings
from adcaptum.service.supervisor import launch


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ({}, []),
        ({"workers": 1}, ["cpu"]),
        ({"workers": 3}, ["cpu"] * 3),
        ({"device": "cuda:0,cuda:1"}, ["cuda:0", "cuda:1"]),
        ({"device": "cuda:0,cuda:1", "workers": 4}, ["cuda:0", "cuda:1"] * 2),
        ({"device": "cuda:1"}, []),
    ],
)
def test_there_is_a_worker_for_each_device(
    tmp_path: Path, given: dict[str, object], devices: list[str]
) -> None:
    assert modes.worker_devices(Settings(repository=tmp_path, **given)) == devices  # type: ignore[arg-type] # of many types


@pytest.mark.parametrize(("found", "devices"), [(0, []), (1, []), (2, ["cuda:0", "cuda:1"])])
def test_cuda_stands_for_all_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int, devices: list[str]
) -> None:
    monkeypatch.setattr(modes, "COUNT_DEVICES", f"print({found})")
    assert modes.worker_devices(Settings(repository=tmp_path, device="cuda")) == devices


def test_a_worker_gets_the_settings_and_none_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADCAPTUM_WORKERS", "7")
    monkeypatch.setenv("OTHER", "kept")
    settings = Settings(repository=tmp_path, cache_bytes=1000, max_requests=5, allowed_packages="a")
    own = launch.worker_settings(settings, "cpu", 2)
    assert own.workers is None
    assert (own.cache_bytes, own.max_requests, own.intra_op_threads) == (500, 5, 1)
    socket, http, frames, journal = (tmp_path / name for name in "shfj")
    seat = Seat("1", socket, http, frames, journal, os.getpid(), ("m",), True)
    told = json.loads(launch.command(own, seat)[-1])
    assert Settings(**told["settings"]) == own
    assert told["seat"]["quarantined"] == ["m"]
    assert "ADCAPTUM_WORKERS" not in launch.environment()
    assert launch.environment()["OTHER"] == "kept"


def test_workers_compute_in_one_thread_each_and_one_that_is_alone_divides_the_cores(
    tmp_path: Path,
) -> None:
    settings = Settings(repository=tmp_path)
    own = launch.worker_settings(settings, "cpu", 2)
    assert (own.device_threads, own.intra_op_threads) == (1, 1)
    for alone in (
        launch.worker_settings(settings, "cpu", 1),
        launch.worker_settings(settings, "cuda:0", 2),
    ):
        assert (alone.device_threads, alone.intra_op_threads) == (None, None)
    told = Settings(repository=tmp_path, device_threads=3)
    assert launch.worker_settings(told, "cpu", 2).device_threads == 3


def test_workers_have_cores_of_their_own_where_there_are_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3}, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    settings = Settings(repository=tmp_path)
    assert launch.own_cores(settings, ["cpu", "cpu"]) == [3, 5]
    assert launch.own_cores(settings, ["cpu"]) == []
    assert launch.own_cores(settings, ["cpu"] * 3) == []
    assert launch.own_cores(settings, ["cpu", "cuda:0"]) == []
    two = Settings(repository=tmp_path, intra_op_threads=2)
    assert launch.own_cores(two, ["cpu", "cpu"]) == []
