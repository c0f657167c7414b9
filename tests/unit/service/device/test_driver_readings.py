"""Readings of a driver that is there, of one that refuses, and of none."""

from math import isnan

import pytest
import torch

from adcaptum.service.device.driver_readings import readings

DEVICE = torch.device("cuda:0")


def refuse(_: torch.device) -> int:
    raise RuntimeError("not supported")


def test_there_is_no_reading_without_a_device_or_its_library() -> None:
    assert readings(torch.device("cpu")) == {}
    if not torch.cuda.is_available():
        assert readings(DEVICE) == {}


def test_what_a_driver_refuses_is_absent_or_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "utilization", lambda _: 37)
    monkeypatch.setattr(torch.cuda, "device_memory_used", refuse)
    found = readings(DEVICE)
    assert {name: read() for name, read in found.items()} == {"utilization": 0.37}
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    assert isnan(found["utilization"]())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_readings_of_the_device_are_sensible_where_there_are_any() -> None:
    found = {name: read() for name, read in readings(DEVICE).items()}
    assert 0 <= found.get("utilization", 0.0) <= 1
    assert found.get("used_bytes", 0) <= torch.cuda.get_device_properties(0).total_memory
