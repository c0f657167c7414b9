"""The streaming fold of gradients and steps."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from adcaptum.engine.methods.layers.increments import Increments
from adcaptum.engine.rows.sources import Repeated
from tests.models import numbers

EXAMPLES, POINTS = 4, 9
ROWS = Repeated((torch.zeros(EXAMPLES, 2),), POINTS)
GRADIENTS, VALUES = numbers(EXAMPLES * POINTS, 5), numbers(EXAMPLES * POINTS, 5, seed=1)


def expected(first: int, last: int) -> Tensor:
    """The sum over the counted rows of grad[k] * (value[k + 1] - value[k]), row by row."""
    total = torch.zeros(EXAMPLES, 5, dtype=torch.float64)
    for e in range(EXAMPLES):
        for k in range(first, last - 1):
            r = e * POINTS + k
            total[e] += GRADIENTS[r] * (VALUES[r + 1] - VALUES[r])
    return total


def folded(cuts: list[tuple[int, int]], first: int = 0, last: int = POINTS) -> Tensor:
    sink = Increments(first, last).sink(ROWS)
    for start, stop in cuts:
        sink.add(start, stop, (GRADIENTS[start:stop], VALUES[start:stop]))
    (total,) = sink.result()
    return total


@pytest.mark.parametrize("bounds", [(0, POINTS), (1, POINTS - 1), (2, 5)])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 10, 20, 36])
def test_rows_may_be_cut_anywhere(size: int, bounds: tuple[int, int]) -> None:
    rows = len(ROWS)
    cuts = [(start, min(rows, start + size)) for start in range(0, rows, size)]
    torch.testing.assert_close(folded(cuts, *bounds), expected(*bounds), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_parts_may_arrive_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    marks = [0, *sorted(chance.sample(range(1, len(ROWS)), 7)), len(ROWS)]
    cuts = list(pairwise(marks))
    chance.shuffle(cuts)
    torch.testing.assert_close(folded(cuts), expected(0, POINTS), rtol=1e-12, atol=1e-12)


def test_in_order_only_the_row_at_the_cut_is_kept() -> None:
    sink = Increments(0, POINTS).sink(ROWS)
    for row in range(len(ROWS)):
        sink.add(row, row + 1, (GRADIENTS[row : row + 1], VALUES[row : row + 1]))
        assert len(sink._waiting) <= 1  # type: ignore[attr-defined]
        assert not sink._arrived  # type: ignore[attr-defined]


def test_several_tensors_and_half_precision_are_summed_in_float32() -> None:
    sink = Increments(0, 2).sink(Repeated((torch.zeros(1, 2),), 2))
    ones = torch.ones(2, 3, dtype=torch.float16)
    steps = torch.tensor([0.0, 2.0], dtype=torch.float16)[:, None]
    sink.add(0, 2, (ones, 2 * ones, ones * steps, ones * steps))
    first, second = sink.result()
    assert first.dtype == torch.float32
    assert first.tolist() == [[2.0] * 3]
    assert second.tolist() == [[4.0] * 3]
