"""Segments of an image, outlined and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from adcaptum.attr.visualization.figures import canvas
from adcaptum.attr.visualization.normalisation import as_array

if TYPE_CHECKING:
    from PIL.Image import Image

Mask = npt.NDArray[np.bool_]

_OPACITY = 0.6
_BORDER_OPACITY = 0.8
# Turning the hue by the golden ratio keeps any number of them apart.
_HUE_STEP = 0.618034


def draw_mask_border(
    ax: Axes,
    mask: Mask | Tensor,
    border_width: int = 1,
    border_color: str | Sequence[float] | npt.NDArray[np.floating[Any]] = "black",
) -> None:
    """Draws a line along the inside of a mask's edge; the image's edge counts as one.

    Args:
        ax: Where to draw.
        mask: (height, width); non-zero pixels belong to it.
        border_width: In pixels; none is drawn below 1.
        border_color: A colour in any of matplotlib's forms.
    """
    inside = as_array(mask).astype(bool)
    if border_width < 1 or not inside.any():
        return
    border = inside & ~_eroded(inside, border_width)
    colour = to_rgba(border_color if isinstance(border_color, str) else tuple(border_color))
    ax.imshow(border[..., None] * np.array([*colour]))


def draw_mask_legend(
    ax: Axes,
    mask: Mask | Tensor,
    label: str,
    fontsize: int = 10,
    text_color: str = "white",
    bbox_facecolor: str = "black",
    bbox_alpha: float = 0.6,
) -> None:
    """Writes a label at the centre of gravity of a mask, unless it is empty.

    Args:
        ax: Where to write.
        mask: (height, width); non-zero pixels belong to it.
        label: The text.
        fontsize: In points.
        text_color: The colour of the text.
        bbox_facecolor: The colour of the box behind it.
        bbox_alpha: The opacity of the box.
    """
    rows, columns = np.nonzero(as_array(mask))
    if not rows.size:
        return
    box = {"boxstyle": "round,pad=0.2", "facecolor": bbox_facecolor, "alpha": bbox_alpha}
    x, y = float(columns.mean()), float(rows.mean())
    ax.text(x, y, label, color=text_color, fontsize=fontsize, ha="center", va="center", bbox=box)


def mask_overlay(
    image: Image, masks: Mapping[str, Mask], *, border_width: int, labels: bool, show: bool
) -> tuple[Figure, Axes]:
    """Draws an image under masks in colours, with a line along their edges and their names."""
    with canvas(None, None, use_pyplot=show) as figure:
        axes = figure.subplots()
        axes.imshow(image)
        axes.axis("off")
        figure.set_facecolor("white")
        for i, (label, mask) in enumerate(masks.items()):
            rgb = hsv_to_rgb((i * _HUE_STEP % 1, 0.8, 0.9))
            axes.imshow(mask[..., None] * np.array([*rgb, _OPACITY]))
            draw_mask_border(axes, mask, border_width, np.array([*rgb, _BORDER_OPACITY]))
            if labels:
                draw_mask_legend(axes, mask, label)
    return figure, axes


def _eroded(mask: Mask, times: int) -> Mask:
    """Removes the pixels that have a neighbour outside, above, below, left or right."""
    for _ in range(times):
        framed = np.pad(mask, 1)
        beside = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
        mask = mask & beside
    return mask
