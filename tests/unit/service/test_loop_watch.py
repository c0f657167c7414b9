"""What holds up the event loop is measured, and named while it does."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import Histogram

from adcaptum.service import loop_watch
from adcaptum.service.loop_watch import LoopWatch
from adcaptum.service.metrics import Metrics

Lines = list[structlog.typing.EventDict]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def total(lag: Histogram) -> float:
    (family,) = lag.collect()
    return next(each.value for each in family.samples if each.name.endswith("_sum"))


def hold_up() -> None:
    time.sleep(0.4)


async def test_a_stall_is_measured_and_its_place_is_logged(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watch, "STALL_SECONDS", 0.05)
    lag = Metrics().loop_lag
    watch = LoopWatch(lag)
    watch.start()
    await asyncio.sleep(0)
    hold_up()
    # The tick that is due comes before what is due later.
    await asyncio.sleep(loop_watch.TICK_SECONDS)
    watch.stop()
    assert total(lag) > 0.2
    held_up = [line for line in lines if line["event"] == "the event loop is held up"]
    assert any("hold_up" in line["where"][-1] for line in held_up)
