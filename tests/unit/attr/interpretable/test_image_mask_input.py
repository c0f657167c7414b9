"""Images with segments as features."""

from __future__ import annotations

from itertools import product
from typing import Any

import captum.attr as reference
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from adcaptum.attr.interpretable.image_mask_input import ImageMaskInput

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8))
SEGMENTS = torch.tensor([[0, 0, 7, 7, 7], [0, 0, 7, 7, 7], [3, 3, 3, 7, 7], [3, 3, 3, 3, 3]])
OVERLAPPING = [SEGMENTS == 0, SEGMENTS != 3, torch.ones(4, 5)]
MASKS: dict[str, dict[str, Any]] = {
    "whole": {},
    "segments": {"mask": SEGMENTS},
    "int32": {"mask": SEGMENTS.int(), "baseline": (1, 2, 3)},
    "overlapping": {"mask_list": OVERLAPPING},
}


@pytest.mark.parametrize("arguments", MASKS.values(), ids=MASKS)
def test_images_are_captums(arguments: dict[str, Any]) -> None:
    ours = ImageMaskInput(IMAGE, processor_fn=np.asarray, **arguments)
    theirs = reference.ImageMaskInput(IMAGE, processor_fn=np.asarray, **arguments)
    assert torch.equal(ours.to_tensor(), theirs.to_tensor())
    assert ours.values == theirs.values
    assert ours.mask_id_to_idx == theirs.mask_id_to_idx
    np.testing.assert_array_equal(ours.to_model_input(), theirs.to_model_input())
    for bits in product((0.0, 1.0), repeat=ours.n_itp_features):
        present = torch.tensor([bits])
        np.testing.assert_array_equal(ours.to_model_input(present), theirs.to_model_input(present))


@pytest.mark.parametrize("arguments", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("outputs", [(), (1,), (2, 3)], ids=str)
def test_pixels_have_their_segments_attributions(
    arguments: dict[str, Any], outputs: tuple[int, ...]
) -> None:
    image = ImageMaskInput(IMAGE, **arguments)
    attr = torch.randn(*outputs, image.n_itp_features, dtype=torch.float64)
    wanted = torch.zeros(*outputs, 4, 5, dtype=torch.float64)
    for place, segment in enumerate(image.get_mask_list()):
        for y, x in segment.nonzero().tolist():
            wanted[..., y, x] += attr[..., place]
    torch.testing.assert_close(image.format_pixel_attr(attr), wanted)


def test_attributions_that_are_not_numbers_stay_in_their_segment() -> None:
    image = ImageMaskInput(IMAGE, mask=SEGMENTS)
    got = image.format_pixel_attr(torch.tensor([[1.0, torch.nan, 2.0]]))[0]
    assert torch.equal(got.isnan(), SEGMENTS == 3)


@pytest.mark.parametrize(
    ("mode", "white"), [("L", 255), ("RGBA", [255] * 4), ("1", True), ("P", [255] * 3)]
)
def test_images_of_other_modes_are_painted_over_too(mode: str, white: Any) -> None:
    image = ImageMaskInput(IMAGE.convert(mode), mask=SEGMENTS)
    painted = image.to_model_input(torch.tensor([[0.0, 1.0, 1.0]]))
    array = np.asarray(painted)
    assert array[:2, :2].tolist() == [[white] * 2] * 2
    kept = np.asarray(image.image.convert(painted.mode))
    np.testing.assert_array_equal(array[2:], kept[2:])


def test_painting_leaves_the_image_alone() -> None:
    image = IMAGE.copy()
    ImageMaskInput(image).to_model_input(torch.zeros(1, 1))
    assert image.tobytes() == IMAGE.tobytes()


@pytest.mark.parametrize(
    "arguments",
    [{"mask": SEGMENTS.T}, {"mask_list": [SEGMENTS, SEGMENTS[:2]]}],
    ids=["mask", "list"],
)
def test_masks_of_another_shape_raise_as_in_captum(arguments: dict[str, Any]) -> None:
    for cls in (ImageMaskInput, reference.ImageMaskInput):
        with pytest.raises(AssertionError, match="shape"):
            cls(IMAGE, **arguments)


def test_the_overlay_draws_the_image_its_segments_and_their_borders() -> None:
    drawn = ImageMaskInput(IMAGE, mask=SEGMENTS).plot_mask_overlay(border_width=1)
    assert drawn is not None
    figure, axes = drawn
    assert len(axes.images) == 1 + 2 * 3
    assert [text.get_text() for text in axes.texts] == ["0", "3", "7"]
    assert axes.figure is figure
    covered = np.asarray(axes.images[1].get_array())[..., 3] > 0
    np.testing.assert_array_equal(covered, SEGMENTS.numpy() == 0)


def test_the_overlay_is_pyplots_only_where_it_is_shown() -> None:
    plt.switch_backend("agg")
    image = ImageMaskInput(IMAGE, mask=SEGMENTS)
    assert image.plot_mask_overlay(show_legends=False) is not None
    assert plt.get_fignums() == []
    assert image.plot_mask_overlay(show=True) is None
    assert len(plt.get_fignums()) == 1
    plt.close("all")
