"""Segments of an image, outlined and labelled."""

from __future__ import annotations

from typing import Any

import matplotlib.axes
import numpy as np
import pytest
import torch
from captum.attr import visualization as reference
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adcaptum.attr import visualization

RANDOM = np.random.default_rng(0)
SHAPES = {
    "whole": np.ones((5, 6), dtype=bool),
    "box": np.pad(np.ones((4, 3), dtype=bool), 2),
    "dots": RANDOM.random((8, 9)) < 0.3,
    "holes": RANDOM.random((12, 12)) < 0.9,
    "line": np.eye(1, 7, dtype=bool),
}


def axes() -> Axes:
    made = Figure().subplots()
    assert isinstance(made, matplotlib.axes.Axes)
    return made


@pytest.mark.parametrize("color", ["red", np.array([0.1, 0.2, 0.3, 0.8])], ids=["name", "array"])
@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_borders_are_captums(mask: Any, width: int, color: Any) -> None:
    ours, theirs = axes(), axes()
    visualization.draw_mask_border(ours, mask, width, color)
    reference.draw_mask_border(theirs, mask, width, color)
    got, wanted = (np.asarray(one.images[0].get_array()) for one in (ours, theirs))
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("mask", [SHAPES["dots"].astype(int), torch.tensor(SHAPES["dots"])])
def test_masks_may_be_numbers_or_tensors(mask: Any) -> None:
    ours, theirs = axes(), axes()
    visualization.draw_mask_border(ours, mask)
    reference.draw_mask_border(theirs, SHAPES["dots"])
    got, wanted = (np.asarray(one.images[0].get_array()) for one in (ours, theirs))
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("mask", "width"), [(np.zeros((3, 3)), 1), (np.ones((3, 3)), 0)])
def test_no_border_is_drawn_around_nothing_or_of_no_width(mask: Any, width: int) -> None:
    drawn = axes()
    visualization.draw_mask_border(drawn, mask, width)
    assert list(drawn.images) == []


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_labels_are_captums(mask: Any) -> None:
    ours, theirs = axes(), axes()
    arguments: dict[str, Any] = {"fontsize": 7, "text_color": "red", "bbox_alpha": 0.5}
    visualization.draw_mask_legend(ours, mask, "a label", **arguments)
    reference.draw_mask_legend(theirs, mask, "a label", **arguments)
    got, wanted = ours.texts[0], theirs.texts[0]
    for name in ("text", "position", "color", "fontsize", "ha", "va"):
        assert getattr(got, f"get_{name}")() == getattr(wanted, f"get_{name}")()
    boxes = [text.get_bbox_patch() for text in (got, wanted)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0].get_facecolor() == boxes[1].get_facecolor()


def test_no_label_is_written_on_nothing() -> None:
    drawn = axes()
    visualization.draw_mask_legend(drawn, torch.zeros(3, 3), "a label")
    assert list(drawn.texts) == []
