"""Sliding windows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.methods.perturbation.windows import Windows

CPU = torch.device("cpu")
GRIDS = [
    Windows((7,), (3,), (2,)),
    Windows((8,), (3,), (3,)),
    Windows((5,), (5,), (5,)),
    Windows((2, 6, 5), (2, 3, 2), (1, 2, 2)),
    Windows((3, 7, 4), (1, 4, 4), (1, 3, 1)),
]


def boxes(windows: Windows) -> list[Tensor]:
    """The windows one by one, as slices say."""
    found = []
    for index in torch.cartesian_prod(*(torch.arange(n) for n in windows.counts)).view(
        -1, len(windows.shape)
    ):
        starts = [int(i) * s for i, s in zip(index, windows.stride, strict=True)]
        box = torch.zeros(windows.shape, dtype=torch.bool)
        box[tuple(slice(a, a + n) for a, n in zip(starts, windows.size, strict=True))] = True
        found.append(box)
    return found


@pytest.mark.parametrize("windows", GRIDS, ids=str)
def test_windows_are_boxes_cut_off_at_the_border(windows: Windows) -> None:
    expected = torch.stack(boxes(windows))
    assert len(expected) == windows.count
    inside = windows.inside(0, windows.count, CPU)
    assert torch.equal(inside.expand(windows.count, *windows.shape), expected)


@pytest.mark.parametrize("windows", GRIDS, ids=str)
def test_every_element_lies_in_a_window(windows: Windows) -> None:
    inside = windows.inside(0, windows.count, CPU)
    assert bool(inside.expand(windows.count, *windows.shape).any(0).all())


def test_windows_out_of_range_hold_nothing() -> None:
    windows = Windows((4, 4), (2, 4), (2, 4))
    assert windows.inside(-2, 4, CPU).flatten(1).any(1).tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("windows", GRIDS, ids=str)
def test_an_element_has_the_mean_of_its_windows(windows: Windows) -> None:
    values = torch.rand(2, windows.count, dtype=torch.float64)
    masks = torch.stack(boxes(windows)).double().flatten(1)
    expected = (values @ masks / masks.sum(0)).view(2, *windows.shape)
    torch.testing.assert_close(windows.average(values), expected, rtol=1e-12, atol=1e-12)
