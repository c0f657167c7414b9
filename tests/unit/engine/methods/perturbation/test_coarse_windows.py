"""Windows from coarse to fine."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from adcaptum.engine.methods.perturbation.coarse_windows import (
    BehindWindows,
    CoarseWindows,
    steps,
    telling,
)
from adcaptum.engine.methods.perturbation.windows import Windows
from tests.models import numbers

CPU = torch.device("cpu")


def test_every_level_has_the_windows_of_the_one_before_and_the_last_has_all() -> None:
    windows = Windows((3, 30, 17), (3, 8, 4), (3, 2, 1))
    levels = [set(CoarseWindows(windows, s).numbers.tolist()) for s in steps([windows])]
    assert len(levels) > 2
    assert all(coarse < fine for coarse, fine in pairwise(levels))
    assert levels[-1] == set(range(windows.count))


def test_the_windows_at_the_far_ends_are_always_there() -> None:
    windows = Windows((30,), (8,), (1,))
    for step in steps([windows]):
        numbers_ = CoarseWindows(windows, step).numbers.tolist()
        assert (numbers_[0], numbers_[-1]) == (0, windows.count - 1)


@pytest.mark.parametrize(
    "windows",
    [Windows((9,), (1,), (1,)), Windows((9,), (3,), (3,)), Windows((4, 4), (4, 4), (1, 1))],
    ids=["one element", "side by side", "everything"],
)
def test_windows_with_nothing_in_common_are_taken_at_once(windows: Windows) -> None:
    assert steps([windows]) == [1]


def test_channels_that_windows_do_not_share_are_all_taken_at_every_level() -> None:
    windows = Windows((3, 32), (1, 8), (1, 1))
    numbers_ = CoarseWindows(windows, 8).numbers
    assert set((numbers_ // windows.counts[1]).tolist()) == {0, 1, 2}


def test_a_level_tells_where_windows_have_half_in_common() -> None:
    windows = [Windows((40,), (8,), (1,)), Windows((40,), (16,), (2,))]
    assert [telling(windows, step) for step in (8, 4, 2)] == [False, True, True]


def test_what_is_linear_in_a_window_s_place_is_interpolated_exactly() -> None:
    windows = Windows((2, 23, 14), (2, 8, 6), (1, 2, 1))
    rows, columns = torch.meshgrid(*map(torch.arange, windows.counts[1:]), indexing="ij")
    losses = torch.stack([3.0 * rows - columns + 2, 0.5 * rows * columns]).flatten(1).double()
    for step in steps([windows]):
        coarse = CoarseWindows(windows, step)
        known = torch.full_like(losses, torch.nan)
        known[:, coarse.numbers] = losses[:, coarse.numbers]
        torch.testing.assert_close(coarse.interpolated(known), losses)


def test_a_row_behind_a_window_has_the_baseline_there_alone() -> None:
    windows = (Windows((5,), (2,), (1,)), Windows((2, 4), (2, 2), (2, 1)))
    ends = (numbers(2, 5), numbers(2, 2, 4, seed=1))
    starts = (torch.zeros(2, 5).double(), torch.zeros(2, 2, 4).double())
    chosen = (torch.tensor([3, -1, -1]), torch.tensor([-1, 1, -1]))
    rows = BehindWindows(ends, starts, windows, chosen)
    first, second = (t.unflatten(0, (2, 3)) for t in rows.take(0, 6))
    one, other = ends[0].clone(), ends[1].clone()
    one[:, 3:5] = 0
    other[:, :, 1:3] = 0
    assert torch.equal(first, torch.stack([one, ends[0], ends[0]], 1))
    assert torch.equal(second, torch.stack([ends[1], other, ends[1]], 1))
