"""Rows that together take less than a few milliseconds are one batch."""

from __future__ import annotations

import pytest

from adcaptum.engine.execution import driver
from adcaptum.engine.scheduling.batch_sizer import BatchSizer

KEY = "rows"


def sizer(seconds: float, *, fixed: int | None = None, most: int = 256) -> BatchSizer:
    """A sizer that has seen one row take so many seconds."""
    made = BatchSizer(target_seconds=0.25, max_rows=most, fixed=fixed)
    made.rows(KEY)
    made.observe(KEY, 1, seconds)
    return made


@pytest.mark.parametrize(
    ("seconds", "left", "whole"),
    [
        (1e-4, 40, True),
        (1e-4, 60, False),
        (1e-5, 64, True),
        (1e-5, 65, False),
        (1e-3, 4, True),
        (1e-3, 16, False),
        (1e-2, 4, False),
    ],
)
def test_a_short_rest_is_one_batch(seconds: float, left: int, whole: bool) -> None:
    learnt = sizer(seconds)
    usual = learnt.rows(KEY)
    assert usual < left
    assert driver._room(learnt, KEY, usual, left) == (left if whole else usual)


def test_nothing_is_taken_together_before_a_batch_was_timed() -> None:
    fresh = BatchSizer(target_seconds=0.25)
    usual = fresh.rows(KEY)
    assert driver._room(fresh, KEY, usual, 40) == usual


def test_limits_hold_for_short_rests() -> None:
    few = sizer(1e-5, most=8)
    assert driver._room(few, KEY, few.rows(KEY), 40) == 8
    fixed = sizer(1e-5, fixed=2)
    assert driver._room(fixed, KEY, fixed.rows(KEY), 40) == 2
    failed = sizer(1e-5)
    failed.out_of_memory(KEY, 16)
    assert driver._room(failed, KEY, failed.rows(KEY), 40) <= 8
