"""Explanations as matplotlib figures; the only module that needs matplotlib."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from adcaptum.client.drawing.colours import (
    NEGATIVE,
    POSITIVE,
    RGB,
    colour_of,
    diverging,
    overlay,
    text_colour_on,
)
from adcaptum.client.drawing.summary import facts, heading, warnings
from adcaptum.client.drawing.view import (
    BarChart,
    HeatMap,
    Matrix,
    ScoredToken,
    TokenStrip,
    View,
    views_of,
)
from adcaptum.client.results.explanation import Explanation

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import BoxStyle, FancyBboxPatch
    from matplotlib.textpath import text_to_path
except ImportError as error:
    raise ImportError("pictures need matplotlib: pip install 'adcaptum[plot]'") from error

_WIDTH_INCHES = 8.0
_HEADING_INCHES = 0.7
_HIGHEST_PICTURE_INCHES = 5.0
_DPI = 120
_GREY = "#555555"
_COLOURS = ListedColormap(diverging(np.linspace(-1, 1, 255)) / 255.0, "adcaptum")
_POSITIVE_COLOURS = ListedColormap(diverging(np.linspace(0, 1, 128)) / 255.0, "adcaptum_positive")

# Measures of a line of tokens, in points.
_TOKEN_SIZE = 11
_LINE_POINTS = 24.0
_SPACE_POINTS = 5.0
_GLUE_POINTS = 1.0
_MARGIN_POINTS = 14.0


def draw(explanations: Sequence[Explanation], *, image: npt.NDArray[Any] | None = None) -> Figure:
    """Draw explanations one below the other.

    Args:
        explanations: At least one.
        image: The image to lay heat maps over; by default the one in an explanation.

    Raises:
        ValueError: There is nothing to draw, or image does not have the shape of an image.
    """
    panels = [(each, view) for each in explanations for view in views_of(each, image=image)]
    if not panels:
        raise ValueError("there are no attributions to draw")
    heights = [_height_inches(view) for _, view in panels]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights)), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (explanation, view), height in zip(parts, panels, heights, strict=True):
        _draw_heading(part, explanation, view, height)
        _draw_view(part, view, height)
    return figure


def _height_inches(view: View) -> float:
    match view:
        case HeatMap():
            return _HEADING_INCHES + _picture_inches(view)[1] + 0.25
        case TokenStrip():
            lines = 1 + max((line for line, _, _ in _lay_out(view.tokens)), default=0)
            return _HEADING_INCHES + (lines * _LINE_POINTS + 1.5 * _MARGIN_POINTS) / 72
        case Matrix():
            return _HEADING_INCHES + 0.5 + 0.32 * len(view.labels)
    return _HEADING_INCHES + 0.6 + 0.27 * (len(view.bars) + bool(view.hidden))


def _picture_inches(view: HeatMap) -> tuple[float, float]:
    """Return the width and height of a picture; beside its image, two of them fit."""
    rows, columns = view.values.shape
    width = (_WIDTH_INCHES - 1.5) / 2 if view.image is not None else 4.0
    scale = min(width / columns, _HIGHEST_PICTURE_INCHES / rows)
    return scale * columns, max(0.5, scale * rows)


def _draw_heading(part: SubFigure, explanation: Explanation, view: View, height: float) -> None:
    several = f" \u2013 {view.name}" if len(explanation.attributions) > 1 else ""
    title = _plain(heading(explanation) + several)
    part.text(0.02, 1 - 0.14 / height, title, va="top", size=12, weight="bold")
    text = _plain(" \u00b7 ".join(facts(explanation)))
    part.text(0.02, 1 - 0.40 / height, text, va="top", size=9, color=_GREY)
    doubts = _plain(" ".join(warnings(explanation)))
    part.text(0.02, 1 - 0.56 / height, doubts, va="top", size=8, color="#8a4b00")


def _draw_view(part: SubFigure, view: View, height: float) -> None:
    top = 1 - _HEADING_INCHES / height
    match view:
        case HeatMap():
            _draw_heat_map(part, view, height)
        case TokenStrip():
            _draw_tokens(part, view, top, height)
        case BarChart():
            _draw_bars(part, view, top, height)
        case Matrix():
            _draw_matrix(part, view, top, height)


def _draw_heat_map(part: SubFigure, view: HeatMap, height: float) -> None:
    pictures = [diverging(view.scaled)]
    if view.image is not None:
        pictures = [view.image, overlay(view.scaled, view.image)]
    wide, high = _picture_inches(view)
    bottom, left = 0.2, 0.02 * _WIDTH_INCHES
    for picture in pictures:
        axes = part.add_axes(_place(left, bottom, wide, high, height))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#cccccc")
        left += wide + 0.12
    axes = part.add_axes(_place(left + 0.05, bottom, 0.14, high, height))
    both = view.lowest < 0
    colours = ScalarMappable(
        Normalize(view.lowest, view.limit), _COLOURS if both else _POSITIVE_COLOURS
    )
    beyond: Literal["both", "max"] = "both" if both else "max"
    bar = part.colorbar(colours, cax=axes, extend=beyond if view.clipped else "neither")
    bar.ax.tick_params(labelsize=8, color="#cccccc", labelcolor=_GREY)
    bar.outline.set_edgecolor("#cccccc")


def _place(
    left: float, bottom: float, wide: float, high: float, height: float
) -> tuple[float, float, float, float]:
    """Convert inches to fractions of a part of this height."""
    return left / _WIDTH_INCHES, bottom / height, wide / _WIDTH_INCHES, high / height


def _draw_tokens(part: SubFigure, view: TokenStrip, top: float, height: float) -> None:
    axes = part.add_axes((0, 0, 1, top))
    axes.axis("off")
    axes.set(xlim=(0, _WIDTH_INCHES * 72), ylim=(top * height * 72, 0))
    for (line, left, width), token in zip(_lay_out(view.tokens), view.tokens, strict=True):
        place = (left, _MARGIN_POINTS + line * _LINE_POINTS)
        _draw_token(axes, token, colour_of(token.value / view.limit), place, width)


def _draw_token(
    axes: Axes, token: ScoredToken, background: RGB, place: tuple[float, float], width: float
) -> None:
    left, middle = place
    ink = (136, 136, 136) if token.added else text_colour_on(background)
    height = _LINE_POINTS - 6
    shape = BoxStyle.Round(pad=0, rounding_size=3)
    corner = (left, middle - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, shape, fc=_fraction(background), ec="none")
    )
    axes.text(
        left + width / 2,
        middle,
        _plain(token.text),
        size=_TOKEN_SIZE,
        color=_fraction(ink),
        ha="center",
        va="center_baseline",
    )


def _lay_out(tokens: Sequence[ScoredToken]) -> list[tuple[int, float, float]]:
    """Return the line, the left edge and the width of each token, in points."""
    font = FontProperties(size=_TOKEN_SIZE)
    places = []
    line, x = 0, _MARGIN_POINTS
    for token in tokens:
        text_width, _, _ = text_to_path.get_text_width_height_descent(token.text, font, False)
        width = text_width + 6
        x += _GLUE_POINTS if token.glued else _SPACE_POINTS
        if x + width > _WIDTH_INCHES * 72 - _MARGIN_POINTS:
            line, x = line + 1, _MARGIN_POINTS
        places.append((line, x, width))
        x += width
    return places


def _draw_bars(part: SubFigure, view: BarChart, top: float, height: float) -> None:
    labels = [bar.label for bar in view.bars]
    values = [bar.value for bar in view.bars]
    if view.hidden:
        labels.append(f"{view.hidden} others together")
        values.append(view.hidden_sum)
    left = min(0.45, 0.05 + 0.0105 * max(map(len, labels), default=0))
    axes = part.add_axes((left, 0.3 / height, 0.96 - left, top - 0.3 / height))
    rows = range(len(values))
    axes.barh(rows, values, color=[_fraction(_sign_colour(value)) for value in values], height=0.7)
    for row, bar in enumerate(view.bars):
        if bar.standard_error is not None:
            axes.errorbar(bar.value, row, xerr=bar.standard_error, color="black", capsize=2, lw=0.8)
    _label_bars(axes, values, [bar.standard_error or 0.0 for bar in view.bars])
    axes.set_yticks(rows, [_plain(label) for label in labels], size=9)
    axes.invert_yaxis()
    axes.axvline(0, color=_GREY, lw=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#cccccc")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, color="#cccccc", labelcolor=_GREY)


def _draw_matrix(part: SubFigure, view: Matrix, top: float, height: float) -> None:
    count = len(view.labels)
    left = min(0.45, 0.05 + 0.0105 * max(map(len, view.labels), default=0))
    wide = min(0.96 - left, 0.75 * count / _WIDTH_INCHES)
    axes = part.add_axes((left, 0.3 / height, wide, top - 0.35 / height))
    axes.imshow(diverging(view.scaled), interpolation="nearest", aspect="auto")
    for (row, column), value in np.ndenumerate(view.values):
        ink = text_colour_on(colour_of(float(view.scaled[row, column])))
        axes.text(
            column, row, f"{value:+.2g}", ha="center", va="center", size=7, color=_fraction(ink)
        )
    # The columns are the rows' features, by their numbers: names would run into each other.
    axes.set_xticks(range(count), [str(place) for place in range(1, count + 1)], size=8)
    names = [f"{place} {_plain(label)}" for place, label in enumerate(view.labels, 1)]
    axes.set_yticks(range(count), names, size=9)
    axes.tick_params(length=0, labelcolor=_GREY)
    axes.spines[:].set_color("#cccccc")
    if view.hidden:
        text = f"{view.hidden} others, which weigh less"
        part.text(left, 0.03 / height, text, size=8, color=_GREY)


def _label_bars(axes: Axes, values: Sequence[float], errors: Sequence[float]) -> None:
    padded = [*errors, *[0.0] * (len(values) - len(errors))]
    for row, (value, error) in enumerate(zip(values, padded, strict=True)):
        axes.annotate(
            f"{value:+.3g}",
            (value + np.copysign(error, value), row),
            xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            size=8,
            color=_GREY,
        )
    axes.margins(x=0.16)


def _sign_colour(value: float) -> RGB:
    return POSITIVE if value >= 0 else NEGATIVE


def _fraction(colour: RGB) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _plain(text: str) -> str:
    """Escape dollar signs, which matplotlib takes for formulas."""
    return text.replace("$", r"\$")
