import io
import sys

import pytest

from adcaptum.service import logs
from adcaptum.service.logs import BURST, MOST_KINDS, PER_SECOND, RateLimit


class _Writes(io.StringIO):
    """A stream that keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []

    def write(self, text: str) -> int:
        self.each.append(text)
        return len(text)


def test_a_line_and_its_end_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes write to one pipe: between two writes comes another's line."""
    written = _Writes()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("info", worker="0", libraries=False)
    logs.logger().info("worker draining", in_flight=0)
    assert len(written.each) == 1
    assert written.each[0].endswith("}\n")


def test_a_burst_of_one_kind_passes_and_then_a_few_a_second() -> None:
    limit = RateLimit()
    assert [limit.allow("request", 0.0) for _ in range(BURST)] == [0] * BURST
    assert limit.allow("request", 0.0) is None
    assert limit.allow("request", 0.0) is None
    assert limit.allow("loaded", 0.0) == 0
    assert limit.allow("request", 1 / PER_SECOND) == 2
    assert limit.allow("request", 1 / PER_SECOND) is None


def test_kinds_beyond_the_bound_share_one_bucket() -> None:
    limit = RateLimit()
    allowed = [limit.allow(f"kind {number}", 0.0) for number in range(MOST_KINDS + 10 * BURST)]
    assert allowed.count(0) == MOST_KINDS + BURST
