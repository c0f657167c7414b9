"""Explanations in a terminal, drawn with rich (the extra ``adcaptum[cli]``)."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from adcaptum.client.drawing.colours import (
    NEGATIVE,
    POSITIVE,
    RGB,
    colour_of,
    diverging,
    overlay,
    text_colour_on,
)
from adcaptum.client.drawing.raster import shrink
from adcaptum.client.drawing.summary import (
    answer_facts,
    facts,
    failures,
    heading,
    time_facts,
    warnings,
)
from adcaptum.client.drawing.view import (
    Bar,
    BarChart,
    HeatMap,
    Matrix,
    ScoredToken,
    TokenStrip,
    View,
    views_of,
)
from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.prediction import LabelScore, PredictResult
from adcaptum.client.results.timings import Timings

_PICTURE_COLUMNS = 44
_BAR_COLUMNS = 24
_LABEL_COLUMNS = 30
_CELL_COLUMNS = 9
# The share of the largest attribution below which a token is not coloured.
_NEUTRAL = 0.08
# Without colours, from strongly negative over nothing to strongly positive.
_SIGNS = np.array(list("=-~ :+#"))
_SIGNS_LEGEND = "~ - = negative, : + # positive"


def render_prediction(result: PredictResult, console: Console) -> None:
    """Print the largest outputs of each example, or the outputs where there are no labels."""
    render_labels(result.predictions, console)
    if not result.predictions:
        for name, array in result.outputs.items():
            console.print(Text(f"{name}: {np.array2string(array, precision=5, threshold=50)}"))
    parts = [f"{result.model.name} {result.model.version}", *time_facts(result.timings)]
    console.print(_small(parts))
    _render_warnings(result.warnings, console)


def render_labels(predictions: Sequence[tuple[LabelScore, ...]], console: Console) -> None:
    """Print the largest outputs of each example."""
    for example, labels in enumerate(predictions):
        if len(predictions) > 1:
            console.print(Text(f"example {example}", style="bold"))
        console.print(_scores(labels))


def render_explanations(
    explanations: Explanations, console: Console, *, max_bars: int = 15
) -> None:
    """Print all explanations of a request and where its time went."""
    for explanation in explanations:
        render_explanation(explanation, console, max_bars=max_bars)
    for failed in failures(explanations):
        console.print(Text(failed, style="red"))
    console.print(_small(answer_facts(explanations)))
    _render_warnings(explanations.warnings, console)


def _render_warnings(texts: Iterable[str], console: Console) -> None:
    for text in texts:
        console.print(Text(f"warning: {text}", style="yellow"))


def render_explanation(
    explanation: Explanation,
    console: Console,
    *,
    timings: Timings | None = None,
    max_bars: int = 15,
) -> None:
    """Print one explanation: a heat map, coloured tokens or signed bars, and what it cost.

    Args:
        explanation: The explanation.
        console: The console to print on; without colours, signs stand for them.
        timings: The timings of the request, to print them, too.
        max_bars: The largest number of features to show.
    """
    console.print(Text(heading(explanation), style="bold"))
    for view in views_of(explanation, max_bars=max_bars):
        if len(explanation.attributions) > 1:
            console.print(Text(view.name, style="italic"))
        console.print(_view(view, console))
    parts = facts(explanation) + (time_facts(timings) if timings is not None else [])
    console.print(_small(parts))
    _render_warnings(warnings(explanation), console)
    console.print()


def _view(view: View, console: Console) -> RenderableType:
    coloured = console.color_system is not None
    match view:
        case HeatMap():
            return _heat_map(view, console.width) if coloured else _signs(view, console.width)
        case TokenStrip():
            tokens = [_token(token, view.limit, coloured) for token in view.tokens]
            spaces = ["" if token.glued else " " for token in view.tokens]
            spaced = [part for pair in zip(spaces, tokens, strict=True) for part in pair]
            return Text.assemble(*spaced[1:])
        case Matrix():
            return _matrix(view, console.width, coloured)
    return _bar_chart(view)


def _heat_map(view: HeatMap, width: int) -> RenderableType:
    if view.image is None:
        return _blocks(diverging(_scaled(_fitted(view.values, width))))
    image = np.rint(_fitted(view.image, width // 2 - 1)).astype(np.uint8)
    heat = _scaled(_fitted(view.values, width // 2 - 1))
    return Columns([_blocks(image), _blocks(overlay(heat, image))], padding=(0, 2))


def _blocks(picture: npt.NDArray[np.uint8]) -> Text:
    """Draw two pixels in each character: the upper half in front, the lower one behind."""
    if len(picture) % 2:
        picture = np.concatenate([picture, picture[-1:]])
    text = Text(no_wrap=True)
    for row in range(0, len(picture), 2):
        for upper, lower in zip(picture[row].tolist(), picture[row + 1].tolist(), strict=True):
            text.append("\u2580", f"{_style(upper)} on {_style(lower)}")
        text.append("\n")
    text.rstrip()
    return text


def _signs(view: HeatMap, width: int) -> Text:
    heat = _fitted(view.values, width, cell_height=2)
    levels = np.rint(3 * _scaled(heat)).astype(int) + 3
    drawn = "\n".join("".join(_SIGNS[row]) for row in levels)
    return Text(f"{drawn}\n{_SIGNS_LEGEND}", no_wrap=True)


def _fitted(
    picture: npt.NDArray[np.float64] | npt.NDArray[np.uint8], width: int, *, cell_height: int = 1
) -> npt.NDArray[np.float64]:
    rows, columns = picture.shape[:2]
    fitted = max(1, min(columns, width, _PICTURE_COLUMNS))
    return shrink(picture, max(1, round(rows * fitted / columns / cell_height)), fitted)


def _scaled(heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # The averages of a shrunk map are below its own limit.
    finite = np.nan_to_num(heat)
    return finite / (float(np.abs(finite).max()) or 1.0)


def _token(token: ScoredToken, limit: float, coloured: bool) -> Text:
    if not coloured:
        return Text(f"{token.text}({token.value:+.2g})")
    share = token.value / limit
    if abs(share) < _NEUTRAL:
        # White boxes are too bright in a dark terminal.
        return Text(token.text, style="dim" if token.added else "")
    background = colour_of(share)
    return Text(token.text, f"{_style(text_colour_on(background))} on {_style(background)}")


def _matrix(matrix: Matrix, width: int, coloured: bool) -> Table:
    """Draw numbers in coloured cells; columns are numbered as the rows are."""
    view = matrix.heaviest(max(2, (width - _LABEL_COLUMNS) // _CELL_COLUMNS))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=0, collapse_padding=True)
    table.add_column("", max_width=_LABEL_COLUMNS, no_wrap=True)
    for place in range(len(view.labels)):
        table.add_column(str(place + 1), justify="right", width=_CELL_COLUMNS)
    rows = zip(view.labels, view.values.tolist(), view.scaled.tolist(), strict=True)
    for place, (label, values, shares) in enumerate(rows, 1):
        cells = [
            _number(value, share, coloured) for value, share in zip(values, shares, strict=True)
        ]
        table.add_row(Text(f"{place} {label}"), *cells)
    if view.hidden:
        table.add_row(Text(f"{view.hidden} others, which weigh less", style="dim"))
    return table


def _number(value: float, share: float, coloured: bool) -> Text:
    if not coloured or abs(share) < _NEUTRAL:
        return Text(f"{value:+.2g}")
    background = colour_of(share)
    return Text(f"{value:+.2g}", f"{_style(text_colour_on(background))} on {_style(background)}")


def _bar_chart(view: BarChart) -> Table:
    bars = [*view.bars]
    if view.hidden:
        bars.append(Bar(f"{view.hidden} others together", view.hidden_sum, None))
    limit = max(view.limit, abs(view.hidden_sum))
    table = Table.grid(padding=(0, 1))
    for bar in bars:
        error = "" if bar.standard_error is None else f" \u00b1 {bar.standard_error:.2g}"
        table.add_row(Text(bar.label), _bar(bar.value / limit), Text(f"{bar.value:+.4g}{error}"))
    return table


def _bar(share: float) -> Text:
    length = round(abs(share) * _BAR_COLUMNS / 2) or 1 if np.isfinite(share) else 0
    half = _BAR_COLUMNS // 2
    if share < 0:
        left = Text(" " * (half - length) + "\u2588" * length, style=_style(NEGATIVE))
        return Text.assemble(left, "\u2502", " " * half)
    right = Text("\u2588" * length + " " * (half - length), style=_style(POSITIVE))
    return Text.assemble(" " * half, "\u2502", right)


def _scores(labels: tuple[LabelScore, ...]) -> Table:
    table = Table.grid(padding=(0, 1))
    for score in labels:
        if score.probability is None:
            table.add_row(Text(score.label), Text(f"{score.score:.4g}"))
            continue
        length = round(score.probability * _BAR_COLUMNS)
        bar = Text("\u2588" * length, style="cyan") + Text(
            "\u2591" * (_BAR_COLUMNS - length), "dim"
        )
        table.add_row(Text(score.label), bar, Text(f"{score.probability:.1%}"))
    return table


def _style(colour: RGB | list[int]) -> str:
    return f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"


def _small(parts: Iterable[str]) -> Text:
    return Text(" \u00b7 ".join(parts), style="dim")
