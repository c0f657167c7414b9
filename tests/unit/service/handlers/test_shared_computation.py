"""The expected rest of a computation's time."""

import pytest

from adcaptum.service.handlers.shared_computation import remaining_seconds


def test_a_first_row_that_waited_does_not_stand_for_all() -> None:
    # Its batch took 0.1 s, and all 1,000 rows are expected to take 0.07 s.
    assert remaining_seconds(0.1, 1, 1000, forecast=0.07) == pytest.approx(0.17, rel=0.01)


def test_rows_that_take_as_long_as_foretold_leave_the_rest() -> None:
    for done in (1, 10, 50, 90, 99):
        rest = remaining_seconds(0.02 * done, done, 100, forecast=2.0)
        assert rest == pytest.approx(0.02 * (100 - done))


def test_late_rows_go_by_the_time_that_rows_took() -> None:
    # Rows take ten times as long as foretold.
    assert remaining_seconds(18.0, 90, 100, forecast=2.0) == pytest.approx(2.0, rel=0.1)
