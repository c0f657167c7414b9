"""How much longer than its computation work takes."""

import threading

import pytest

from adcaptum.service.runtime.cost import Ahead, Forecast
from adcaptum.service.runtime.timing.pace import Pace


def test_a_lane_with_nothing_but_computation_has_the_pace_one() -> None:
    pace = Pace()
    for step in range(100):
        pace.observe(step, step + 1.0, 1.0, more=True)
    assert pace.value == 1.0


def test_what_is_beside_the_computation_counts_and_idle_time_does_not() -> None:
    pace, now = Pace(), 0.0
    for step in range(200):
        # Half a second of computation in a step of one second, then a second of other duties while
        # work waits, then, every other time, an hour without work.
        pace.observe(now, now + 1.0, 0.5, more=step % 2 == 0)
        now += 2.0 if step % 2 == 0 else 3600.0
    assert 2.0 < pace.value < 4.0


def test_the_pace_of_a_busy_time_is_forgotten_by_computation() -> None:
    pace = Pace()
    for step in range(20):
        pace.observe(10.0 * step, 10.0 * step + 5.0, 1.0, more=False)
    assert pace.value == pytest.approx(5.0)
    for step in range(20):
        pace.observe(1000.0 + step, 1001.0 + step, 1.0, more=False)
    assert pace.value == pytest.approx(1.0)


def test_steps_that_failed_teach_nothing() -> None:
    pace = Pace()
    pace.observe(0.0, 100.0, 0.0, more=False)
    assert pace.value == 1.0


def test_threads_are_told_apart() -> None:
    pace = Pace()
    pace.observe(0.0, 1.0, 1.0, more=True)
    other = threading.Thread(target=lambda: pace.observe(50.0, 51.0, 1.0, more=True))
    other.start()
    other.join()
    assert pace.value == 1.0
    pace.observe(1.0, 2.0, 1.0, more=True)
    assert pace.value == 1.0


def test_a_promise_is_of_the_pace_and_a_refusal_is_not() -> None:
    forecast = Forecast(2.0, 1.0, Ahead(3, 100, 5.0), pace=2.0)
    assert forecast.wait(forecast.seconds) == 5.0
    assert forecast.promise == 14.0
