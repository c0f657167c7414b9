"""Attributions of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.visualization.choices import ImageVisualizationMethod, VisualizeSign, chosen
from adcaptum.attr.visualization.figures import canvas, colour_bar_axes, colours
from adcaptum.attr.visualization.normalisation import Array, as_array, normalised

_UNSIGNED = {ImageVisualizationMethod.masked_image, ImageVisualizationMethod.alpha_scaling}
_OVERLAID = {*_UNSIGNED, ImageVisualizationMethod.blended_heat_map}


def visualize_image_attr(
    attr: npt.NDArray[Any] | Tensor | None,
    original_image: npt.NDArray[Any] | Tensor | None = None,
    method: str = "heat_map",
    sign: str = "absolute_value",
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    outlier_perc: float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """Draws the attributions of an image's pixels.

    Channels are summed; attributions of other signs become zero, and the rest is scaled.

    Args:
        attr: The attributions, (height, width, channels) or (height, width); None with
            `original_image`, which shows none.
        original_image: The image, in the same form: floats from 0 to 1, or integers from 0 to 255.
            Every method but the heat map needs it.
        method: `heat_map`; `blended_heat_map`, over the image in grey; `original_image`, without
            attributions; `masked_image`, the image darkened by them; `alpha_scaling`, the image
            made transparent by them.
        sign: `positive`, `negative`, `absolute_value`, or `all`, which shows both signs and is not
            for the methods that mask.
        plt_fig_axis: The figure and the axes to draw on; new ones unless given.
        outlier_perc: The largest attributions, which make up this percentage of their sum, all
            count as 1.
        cmap: The colour map of the heat map; unless given, greens for positive, reds for negative,
            blues for absolute values, red over white to green for both signs.
        alpha_overlay: The opacity of the blended heat map.
        show_colorbar: Whether to draw a colour bar below. Methods without a heat map leave its
            place empty, so that pictures beside each other align.
        title: The title.
        fig_size: The size of a new figure, width and height in inches.
        use_pyplot: Whether pyplot makes the figure and shows it. Otherwise only the caller holds
            it.

    Returns:
        The figure and the axes drawn on.

    Raises:
        AssertionError: If the method or the sign is unknown or one is not for the other, or
            `outlier_perc` is no percentage.
        ValueError: If the image is missing, or the attributions do not lie on it.
        TypeError: If the attributions or the image have another number of dimensions.
    """
    figure, axes = plt_fig_axis if plt_fig_axis is not None else (None, None)
    with canvas(figure, fig_size, use_pyplot=use_pyplot) as figure:
        if axes is None:
            axes = figure.subplots()
        picture = _picture(attr, original_image, method, sign)
        picture = replace(picture, attr=normalised(picture.attr, picture.sign, outlier_perc))
        _without_ticks(axes)
        heat_map = picture.draw(axes, cmap, alpha_overlay)
        if show_colorbar:
            _draw_colour_bar(figure, axes, heat_map)
        if title:
            axes.set_title(title)
    return figure, axes


def visualize_image_attr_multiple(
    attr: npt.NDArray[Any] | Tensor | None,
    original_image: npt.NDArray[Any] | Tensor | None,
    methods: list[str],
    signs: list[str],
    titles: list[str] | None = None,
    fig_size: tuple[int, int] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """Draws the attributions of an image's pixels in several ways beside each other.

    Args:
        attr: As in `visualize_image_attr`.
        original_image: As in `visualize_image_attr`.
        methods: The method of each picture.
        signs: The sign of each picture.
        titles: The title of each picture.
        fig_size: The size of the figure, width and height in inches.
        use_pyplot: Whether pyplot makes the figure and shows it.
        **kwargs: Whatever else `visualize_image_attr` takes, for all pictures.

    Returns:
        The figure, and its axes: a list, or the axes alone where there is one picture.

    Raises:
        AssertionError: If there are not as many signs, or titles, as methods; and as
            `visualize_image_attr`.
        ValueError: If there is no method; and as `visualize_image_attr`.
    """
    if len(methods) != len(signs):
        raise InvalidInput(
            "signs", f"of length {len(signs)}", f"one for each of {len(methods)} methods"
        )
    if titles is not None and len(titles) != len(methods):
        raise InvalidInput(
            "titles", f"of length {len(titles)}", f"one for each of {len(methods)} methods"
        )
    if not methods:
        raise InvalidInput("methods", "empty", "at least one")
    with canvas(None, fig_size, use_pyplot=use_pyplot) as figure:
        row = list(figure.subplots(1, len(methods), squeeze=False)[0])
        for i, axes in enumerate(row):
            visualize_image_attr(
                attr,
                original_image,
                methods[i],
                signs[i],
                plt_fig_axis=(figure, axes),
                title=titles[i] if titles else None,
                use_pyplot=False,
                **kwargs,
            )
        figure.tight_layout()
    return figure, row[0] if len(row) == 1 else row


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A picture to draw, checked.

    Attributes:
        method: The method.
        sign: The drawn attributions' sign.
        attr: The attributions, (height, width).
        image: (height, width, channels), 0 to 255; empty where there is none.
    """

    method: ImageVisualizationMethod
    sign: VisualizeSign
    attr: Array
    image: Array

    def draw(self, axes: Axes, cmap: str | Colormap | None, alpha: float) -> ScalarMappable | None:
        """Draws the picture; returns the heat map for a colour bar, or None."""
        match self.method:
            case ImageVisualizationMethod.heat_map:
                return self._heat_map(axes, cmap, None)
            case ImageVisualizationMethod.blended_heat_map:
                axes.imshow(self.image.mean(2), cmap="gray")
                return self._heat_map(axes, cmap, alpha)
            case ImageVisualizationMethod.original_image:
                axes.imshow(self.image[..., 0] if self.image.shape[2] == 1 else self.image)
            case ImageVisualizationMethod.masked_image:
                axes.imshow(_bytes(self.image * np.nan_to_num(self.attr)[..., None]))
            case ImageVisualizationMethod.alpha_scaling:
                rgb = self.image.repeat(3, 2) if self.image.shape[2] == 1 else self.image[..., :3]
                opacity = np.nan_to_num(self.attr)[..., None] * 255
                axes.imshow(_bytes(np.concatenate([rgb, opacity], 2)))
        return None

    def _heat_map(
        self, axes: Axes, cmap: str | Colormap | None, alpha: float | None
    ) -> ScalarMappable:
        colour_map, limits = colours(self.sign, cmap)
        return axes.imshow(self.attr, cmap=colour_map, norm=limits, alpha=alpha)


def _picture(
    attr: npt.NDArray[Any] | Tensor | None,
    original_image: npt.NDArray[Any] | Tensor | None,
    method: str,
    sign: str,
) -> _Picture:
    how, which = chosen(ImageVisualizationMethod, method), chosen(VisualizeSign, sign)
    if how in _UNSIGNED and which is VisualizeSign.all:
        raise InvalidInput("sign", "all", f"another one: {method} cannot show both signs")
    if original_image is None and how is not ImageVisualizationMethod.heat_map:
        raise InvalidInput("original_image", None, f"{method} needs it, only heat_map does without")
    image = np.empty((0, 0, 1)) if original_image is None else _image(as_array(original_image))
    if attr is None:
        if how is not ImageVisualizationMethod.original_image:
            raise InvalidInput("attr", None, f"{method} needs it, only original_image does without")
        return _Picture(how, which, np.zeros(image.shape[:2]), image)
    values = as_array(attr)
    if values.ndim not in (2, 3):
        raise TypeError(f"attr is {values.shape}: (height, width, channels) or (height, width)")
    if original_image is not None:
        _check_fit(values, image, overlaid=how in _OVERLAID)
    return _Picture(how, which, values.sum(2) if values.ndim == 3 else values, image)


def _image(image: Array) -> Array:
    """Returns the image with channels; if no value is above 1, as integers from 0 to 255."""
    if image.ndim not in (2, 3):
        raise TypeError(
            f"original_image is {image.shape}: (height, width, channels) or (height, width)"
        )
    if image.ndim == 2:
        image = image[..., None]
    return _bytes(image * 255) if image.max() <= 1 else image


def _check_fit(attr: Array, image: Array, *, overlaid: bool) -> None:
    size = image.shape[:2]
    if attr.shape[:2] == size:
        return
    if attr.ndim == 3 and attr.shape[1:] == size:
        raise InvalidInput(
            "attr",
            f"of shape {attr.shape}",
            f"the image's is {image.shape}: put the channels last, as attr.transpose(1, 2, 0) does "
            "(of a tensor: attr.permute(1, 2, 0))",
        )
    if overlaid:
        raise InvalidInput("attr", f"of shape {attr.shape}", f"as large as the image, {size}")


def _bytes(values: Array) -> Array:
    return np.clip(values.astype(int), 0, 255)


def _without_ticks(axes: Axes) -> None:
    axes.xaxis.set_ticks_position("none")
    axes.yaxis.set_ticks_position("none")
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.grid(visible=False)


def _draw_colour_bar(figure: Figure, axes: Axes, heat_map: ScalarMappable | None) -> None:
    below = colour_bar_axes(axes, pad=0.1)
    if heat_map is None:
        below.axis("off")
    else:
        figure.colorbar(heat_map, orientation="horizontal", cax=below)
