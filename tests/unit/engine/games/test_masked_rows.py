"""Rows with parts at the baseline."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import Explicand
from adcaptum.engine.games.coalitions import LeaveOneOut, Listed
from adcaptum.engine.games.features import Features
from adcaptum.engine.games.masked_rows import Masked
from adcaptum.engine.methods.perturbation.windowed_rows import Windowed
from adcaptum.engine.methods.perturbation.windows import Windows
from adcaptum.engine.rows.sources import Rows
from tests.models import numbers

X, Y = numbers(3, 4), numbers(3, 2, 3, seed=1)
X0, Y0 = numbers(3, 4, seed=2), numbers(3, 2, 3, seed=3)
MASKS = (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[[2], [5]]]))


def masked() -> Masked:
    features = Features.of(Explicand.of((X, Y), feature_mask=MASKS), (X, Y))
    return Masked((X, Y), (X0, Y0), features, Listed(torch.rand(5, 4) < 0.5))


def windowed() -> Windowed:
    windows = (Windows((4,), (2,), (1,)), Windows((2, 3), (1, 2), (1, 1)))
    return Windowed((X, Y), (X0, Y0), windows)


@pytest.mark.parametrize("rows", [masked(), windowed()], ids=lambda r: type(r).__name__)
def test_any_range_of_rows_is_the_same_as_in_the_whole(rows: Rows) -> None:
    whole = rows.take(0, len(rows))
    for start in range(len(rows)):
        for stop in range(start + 1, len(rows) + 1):
            for part, t in zip(rows.take(start, stop), whole, strict=True):
                assert torch.equal(part, t[start:stop])


@pytest.mark.parametrize("rows", [masked(), windowed()], ids=lambda r: type(r).__name__)
def test_rows_are_fresh_memory(rows: Rows) -> None:
    before = rows.take(0, len(rows))
    for t in rows.take(0, len(rows)):
        t.zero_()
    for left, right in zip(rows.take(0, len(rows)), before, strict=True):
        assert torch.equal(left, right)


def test_a_feature_is_shown_in_every_input_that_has_it() -> None:
    features = Features.of(Explicand.of((X, Y), feature_mask=MASKS), (X, Y))
    rows = Masked((X, Y), (X0, Y0), features, LeaveOneOut(4))
    x, y = rows.take(2, 3)  # without the feature numbered 2
    assert torch.equal(x[0], torch.cat([X[0, :3], X0[0, 3:]]))
    assert torch.equal(y[0], torch.stack([Y0[0, 0], Y[0, 1]]))


def test_the_baseline_and_the_input_may_hold_nan_and_infinity_where_they_are_not_shown() -> None:
    x, x0 = torch.tensor([[1.0, torch.inf]]), torch.tensor([[torch.nan, 2.0]])
    features = Features.of(Explicand.of(x), (x,))
    (rows,) = Masked((x,), (x0,), features, Listed(torch.tensor([[True, False]]))).take(0, 1)
    assert rows.tolist() == [[1.0, 2.0]]


def test_whole_numbers_stay_whole() -> None:
    x, x0 = torch.tensor([[2**60 + 1, 5]]), torch.zeros(1, 2, dtype=torch.int64)
    features = Features.of(Explicand.of(x), (x,))
    (rows,) = Masked((x,), (x0,), features, LeaveOneOut(2)).take(0, 3)
    assert rows.tolist() == [[0, 5], [2**60 + 1, 0], [2**60 + 1, 5]]


def test_leaving_out_each_of_many_pixels_needs_no_matrix_of_them() -> None:
    image = torch.ones(1, 3, 224, 224)
    features = Features.of(Explicand.of(image), (image,))
    rows = Masked((image,), (torch.zeros_like(image),), features, LeaveOneOut(features.count))
    (row,) = rows.take(150_000, 150_001)
    assert row.sum() == 3 * 224 * 224 - 1


def test_windows_cover_one_input_at_a_time_and_the_last_row_is_the_example() -> None:
    rows = windowed()
    assert rows.per_example == 3 + 4 + 1
    x, y = rows.take(8, 16)
    assert torch.equal(x[0], torch.cat([X0[1, :2], X[1, 2:]]))
    assert torch.equal(y[0], Y[1])
    assert torch.equal(x[3], X[1])
    assert torch.equal(y[3, 0], torch.cat([Y0[1, 0, :2], Y[1, 0, 2:]]))
    assert torch.equal(x[7], X[1])
    assert torch.equal(y[7], Y[1])
