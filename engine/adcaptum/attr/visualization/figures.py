"""Figures and their colours. Pyplot, which keeps figures alive, is imported only on request."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1 import make_axes_locatable

from adcaptum.attr.visualization.choices import VisualizeSign

_COLOURS = {
    VisualizeSign.positive: "Greens",
    VisualizeSign.negative: "Reds",
    VisualizeSign.absolute_value: "Blues",
}


@contextmanager
def canvas(
    given: Figure | None, fig_size: tuple[float, float] | None, *, use_pyplot: bool
) -> Iterator[Figure]:
    """Yields a figure to draw on: the given one, or a new one of that size in inches.

    With pyplot a new figure is one of pyplot's, which forgets it if drawing fails, and pyplot's
    figures are shown at the end. Without, only the caller holds it and pyplot is not imported.
    """
    if not use_pyplot:
        yield Figure(figsize=fig_size) if given is None else given
        return
    from matplotlib import pyplot as plt  # noqa: PLC0415 - importing it chooses a backend

    figure = plt.figure(figsize=fig_size) if given is None else given
    try:
        yield figure
    except BaseException:
        if given is None:
            plt.close(figure)
        raise
    # A backend without windows may say that it shows nothing.
    silent = figure.canvas.required_interactive_framework is None
    with warnings.catch_warnings() if silent else nullcontext():
        if silent:
            warnings.filterwarnings("ignore", ".*is non-interactive", UserWarning)
        plt.show()


def colours(sign: VisualizeSign, cmap: str | Colormap | None) -> tuple[Colormap, Normalize]:
    """Returns the colour map (by default that of the sign) and limits of attributions."""
    limits = Normalize(-1 if sign is VisualizeSign.all else 0, 1)
    if cmap is None:
        if sign is VisualizeSign.all:
            return LinearSegmentedColormap.from_list("RdWhGn", ["red", "white", "green"]), limits
        cmap = _COLOURS[sign]
    return mpl.colormaps.get_cmap(cmap), limits


def colour_bar_axes(axes: Axes, pad: float) -> Axes:
    """Returns axes for a colour bar below others, `pad` inches from them."""
    below: Axes = make_axes_locatable(axes).append_axes("bottom", size="5%", pad=pad)
    return below
