"""Attributions of time series."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.visualization.choices import (
    TimeseriesVisualizationMethod as Method,
    VisualizeSign,
    chosen,
)
from adcaptum.attr.visualization.figures import canvas, colour_bar_axes, colours
from adcaptum.attr.visualization.normalisation import Array, as_array, normalised


def visualize_timeseries_attr(
    attr: npt.NDArray[Any] | Tensor,
    data: npt.NDArray[Any] | Tensor,
    x_values: npt.NDArray[Any] | Tensor | None = None,
    method: str = "overlay_individual",
    sign: str = "absolute_value",
    channel_labels: list[str] | None = None,
    channels_last: bool = True,
    plt_fig_axis: tuple[Figure, Axes | list[Axes]] | None = None,
    outlier_perc: float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.7,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
    **pyplot_kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """Draws a time series and the attributions of its points.

    Args:
        attr: The attributions, (points, channels).
        data: The series, (points, channels).
        x_values: Where the points lie, (points,); 0, 1, ... unless given.
        method: `overlay_individual`, a panel for each channel, the attributions as its background;
            `overlay_combined`, one panel, the background the sum over channels; `colored_graph`, a
            panel for each channel, the line from each point coloured by the point's attribution.
        sign: `positive`, `negative`, `absolute_value`, or `all`, which shows both signs.
        channel_labels: The channels' names.
        channels_last: False where `attr` and `data` are (channels, points).
        plt_fig_axis: The figure, and the axes of the panels, to draw on; new ones unless given.
        outlier_perc: The largest attributions, which make up this percentage of their sum, all
            count as 1.
        cmap: The colour map, as in `visualize_image_attr`.
        alpha_overlay: The opacity of the background.
        show_colorbar: Whether to draw a colour bar below.
        title: The title, above the first panel.
        fig_size: The size of a new figure, width and height in inches.
        use_pyplot: Whether pyplot makes the figure and shows it. Otherwise only the caller holds
            it.
        **pyplot_kwargs: For the lines: `linewidth=3`, `color="black"` and so on.

    Returns:
        The figure, and its axes: an array of them, or the axes alone where there is one panel;
        given axes are returned unchanged.

    Raises:
        AssertionError: If `attr` and `data` are not of the same two-dimensional shape, `x_values`
            has not one entry per point, or the method or the sign is unknown.
        IndexError: If fewer axes are given than there are panels.
    """
    picture = _picture(attr, data, x_values, channel_labels, method, sign, channels_last)
    picture = replace(picture, attr=normalised(picture.attr, picture.sign, outlier_perc))
    paint = _Paint(*colours(picture.sign, cmap), alpha_overlay, pyplot_kwargs)
    figure, axes = plt_fig_axis if plt_fig_axis is not None else (None, None)
    with canvas(figure, fig_size, use_pyplot=use_pyplot) as figure:
        if axes is None:
            axes = figure.subplots(nrows=picture.count, sharex=True)
            figure.subplots_adjust(hspace=0)
        panels = _panels(axes, picture.count)
        picture.draw(panels, paint)
        if show_colorbar:
            paint.colour_bar(figure, panels[-1], picture.method)
        if title:
            panels[0].set_title(title)
    return figure, axes


@dataclass(frozen=True, slots=True, eq=False)
class _Paint:
    """The colours of attributions.

    Attributes:
        colour_map: The map.
        limits: The attributions at its ends.
        alpha: The opacity of backgrounds.
        lines: Matplotlib's keyword arguments of lines.
    """

    colour_map: Colormap
    limits: Normalize
    alpha: float
    lines: dict[str, Any]

    def background(self, panel: Axes, x: Array, attr: Array) -> None:
        """Colours the background of each point, half way to its neighbours."""
        steps = np.diff(x) if len(x) > 1 else np.ones(1)
        edges = [x[0] - steps[0] / 2, *(x[:-1] + np.diff(x) / 2), x[-1] + steps[-1] / 2]
        for left, right, value in zip(edges[:-1], edges[1:], attr, strict=True):
            colour = self.colour_map(self.limits(value))
            panel.axvspan(left, right, facecolor=colour, edgecolor=None, alpha=self.alpha)

    def line(self, panel: Axes, x: Array, values: Array, attr: Array) -> None:
        """Draws the line through the points, each piece in the colour of the point it starts at."""
        points = np.stack([x, values], 1)
        pieces = np.stack([points[:-1], points[1:]], 1)
        line = LineCollection(list(pieces), cmap=self.colour_map, norm=self.limits, **self.lines)
        line.set_array(attr)
        panel.add_collection(line)
        margin = 0.1 * np.ptp(values) or 1.0
        panel.set_ylim(values.min() - margin, values.max() + margin)

    def colour_bar(self, figure: Figure, panel: Axes, method: Method) -> None:
        """Draws a colour bar below a panel."""
        figure.colorbar(
            ScalarMappable(self.limits, self.colour_map),
            orientation="horizontal",
            cax=colour_bar_axes(panel, pad=0.4),
            alpha=1.0 if method is Method.colored_graph else self.alpha,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A picture to draw, checked.

    Attributes:
        method: The method.
        sign: The drawn attributions' sign.
        attr: The attributions, (panels, points).
        data: The series, (channels, points).
        x: Where the points lie, (points,).
        labels: The channels' names.
    """

    method: Method
    sign: VisualizeSign
    attr: Array
    data: Array
    x: Array
    labels: list[str] | None

    @property
    def count(self) -> int:
        """The number of panels."""
        return len(self.attr)

    def draw(self, panels: list[Axes], paint: _Paint) -> None:
        """Draws the picture on as many axes."""
        if self.method is Method.overlay_combined:
            self._draw_combined(panels[0], paint)
        else:
            for i, panel in enumerate(panels):
                self._draw_channel(i, panel, paint)
        first, last = self.x[0], self.x[-1]
        for panel in panels:
            panel.set_xlim(*((first, last) if first != last else (first - 0.5, first + 0.5)))

    def _draw_combined(self, panel: Axes, paint: _Paint) -> None:
        panel.set_prop_cycle(color=mpl.color_sequences["Dark2"])
        for i, values in enumerate(self.data):
            label = self.labels[i] if self.labels else None
            panel.plot(self.x, values, label=label, **paint.lines)
        paint.background(panel, self.x, self.attr[0])
        if self.labels:
            panel.legend(loc="best")

    def _draw_channel(self, i: int, panel: Axes, paint: _Paint) -> None:
        if self.method is Method.colored_graph:
            paint.line(panel, self.x, self.data[i], self.attr[i])
        else:
            panel.plot(self.x, self.data[i], **paint.lines)
            paint.background(panel, self.x, self.attr[i])
        if self.labels:
            panel.set_ylabel(self.labels[i])


def _picture(
    attr: npt.NDArray[Any] | Tensor,
    data: npt.NDArray[Any] | Tensor,
    x_values: npt.NDArray[Any] | Tensor | None,
    labels: list[str] | None,
    method: str,
    sign: str,
    channels_last: bool,
) -> _Picture:
    how, which = chosen(Method, method), chosen(VisualizeSign, sign)
    rows, series = as_array(attr), as_array(data)
    for what, values in (("attr", rows), ("data", series)):
        if values.ndim != 2:
            raise InvalidInput(what, f"of shape {values.shape}", "(points, channels)")
    if rows.shape != series.shape:
        raise InvalidInput("attr", f"of shape {rows.shape}", f"as the data: {series.shape}")
    if channels_last:
        rows, series = rows.T, series.T
    channels, points = series.shape
    if channels > points:
        warnings.warn(
            f"there are {channels} channels of {points} points: is channels_last as it should be?",
            stacklevel=3,
        )
    x = np.arange(points) if x_values is None else as_array(x_values)
    if x.shape != (points,):
        raise InvalidInput("x_values", f"of shape {x.shape}", f"one for each of {points} points")
    if how is Method.overlay_combined:
        rows = rows.sum(0, keepdims=True)
    return _Picture(how, which, rows, series, x, labels)


def _panels(axes: Axes | Sequence[Axes], count: int) -> list[Axes]:
    panels: list[Axes] = np.array(axes, dtype=object, ndmin=1).ravel().tolist()
    if len(panels) < count:
        raise IndexError(f"there are {len(panels)} axes for {count} panels")
    return panels[:count]
