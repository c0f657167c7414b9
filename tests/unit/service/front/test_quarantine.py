import pytest

from adcaptum.service.front import quarantine
from adcaptum.service.front.quarantine import Quarantine


def test_a_request_is_in_it_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(quarantine, "monotonic", lambda: now)
    held = Quarantine(10)
    held.add("Explain", b"body")
    assert held.holds("Explain", b"body")
    assert held.holds("ExplainStream", b"body")
    assert not held.holds("Predict", b"body")
    assert not held.holds("Explain", b"other")
    now = 111.0
    assert not held.holds("Explain", b"body")
    assert len(held) == 0


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MOST", 3)
    held = Quarantine(10)
    for index in range(5):
        held.add("Predict", bytes([index]))
    assert [held.holds("Predict", bytes([index])) for index in range(5)] == [False] * 2 + [True] * 3
