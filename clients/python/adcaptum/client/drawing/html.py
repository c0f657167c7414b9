"""Results as self-contained HTML for notebooks, without scripts."""

import base64
import html
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

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
from adcaptum.client.drawing.raster import encode_png
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

_BOX = (
    "font-family:system-ui,sans-serif;font-size:14px;line-height:1.45;color:#222;background:#fff;"
    "padding:10px 12px;max-width:760px"
)
_PICTURE = "width:240px;max-width:48%;image-rendering:pixelated;border:1px solid #ccc"
_WARNING = "font-size:12px;color:#8a4b00"
_CELL = (
    "padding:1px 6px;border:none;background:#fff;color:#222;text-align:left;vertical-align:middle"
)


@singledispatch
def to_html(result: Any) -> str:
    """Render an explanation, the explanations of a request, or a prediction.

    Raises:
        TypeError: It is none of these.
    """
    raise TypeError(f"a {type(result).__name__} has no drawing")


@to_html.register
def _explanation_html(explanation: Explanation) -> str:
    return _boxed([_explanation(explanation)])


@to_html.register
def _explanations_html(explanations: Explanations) -> str:
    parts = [_explanation(each) for each in explanations]
    foot = answer_facts(explanations)
    doubts = [*failures(explanations), *explanations.warnings]
    return _boxed([*parts, _small(foot), *_warnings(doubts)])


@to_html.register
def _prediction_html(result: PredictResult) -> str:
    # The largest outputs of each example, or all numbers of outputs without labels.
    tables = [_scores(labels) for labels in result.predictions]
    if not tables:
        tables = [
            f"<div>{_escaped(name)}: {_escaped(str(array.tolist()))}</div>"
            for name, array in result.outputs.items()
        ]
    identity = result.model
    foot = [f"{identity.name} {identity.version}", *time_facts(result.timings)]
    return _boxed([*tables, _small(foot), *_warnings(result.warnings)])


def _explanation(explanation: Explanation) -> str:
    parts = [f'<div style="font-weight:600">{_escaped(heading(explanation))}</div>']
    parts.append(_small(facts(explanation)))
    parts += _warnings(warnings(explanation))
    for view in views_of(explanation):
        if len(explanation.attributions) > 1:
            parts.append(f'<div style="margin-top:6px">{_escaped(view.name)}</div>')
        parts.append(_view(view))
    return f'<div style="margin-bottom:14px">{"".join(parts)}</div>'


def _warnings(texts: Iterable[str]) -> list[str]:
    return [f'<div style="{_WARNING}">{_escaped(each)}</div>' for each in texts]


def _view(view: View) -> str:
    match view:
        case HeatMap():
            return _heat_map(view)
        case TokenStrip():
            tokens = "".join(_token(token, view.limit) for token in view.tokens)
            return f'<div style="line-height:2;margin-top:6px">{tokens}</div>'
        case Matrix():
            return _matrix(view)
    return _bar_chart(view)


def _heat_map(view: HeatMap) -> str:
    pictures = [diverging(view.scaled)]
    if view.image is not None:
        pictures = [view.image, overlay(view.scaled, view.image)]
    images = " ".join(_picture(picture, view.name) for picture in pictures)
    stops = ",".join(
        _css(colour_of(place)) for place in np.linspace(view.lowest / view.limit, 1, 9)
    )
    scale = (
        f'<span style="display:inline-block;width:120px;height:9px;margin:0 6px;'
        f'border:1px solid #ccc;background:linear-gradient(to right,{stops})"></span>'
    )
    legend = f"{view.lowest:.3g}{scale}{view.limit:.3g}"
    return f'<div style="margin-top:6px">{images}</div><div style="font-size:12px">{legend}</div>'


def _picture(picture: npt.NDArray[np.uint8], name: str) -> str:
    data = base64.b64encode(encode_png(picture)).decode()
    return f'<img alt="{_escaped(name)}" style="{_PICTURE}" src="data:image/png;base64,{data}">'


def _token(token: ScoredToken, limit: float) -> str:
    background = colour_of(token.value / limit)
    ink = "#888" if token.added else _css(text_colour_on(background))
    style = f"background:{_css(background)};color:{ink};padding:2px 3px;border-radius:3px"
    space = "" if token.glued else " "
    return f'{space}<span title="{token.value:+.4g}" style="{style}">{_escaped(token.text)}</span>'


def _matrix(view: Matrix) -> str:
    head = _row(["", *(_escaped(label) for label in view.labels)])
    rows = [
        f'<tr><td style="{_CELL}">{_escaped(label)}</td>'
        + "".join(map(_number, values, shares))
        + "</tr>"
        for label, values, shares in zip(
            view.labels, view.values.tolist(), view.scaled.tolist(), strict=True
        )
    ]
    more = _small([f"{view.hidden} others, which weigh less"] if view.hidden else [])
    return _table([head, *rows]) + more


def _number(value: float, share: float) -> str:
    background = colour_of(share)
    style = f"background:{_css(background)};color:{_css(text_colour_on(background))}"
    return f'<td style="{_CELL};{style}">{value:+.3g}</td>'


def _bar_chart(view: BarChart) -> str:
    bars = [*view.bars]
    if view.hidden:
        bars.append(Bar(f"{view.hidden} others together", view.hidden_sum, None))
    limit = max(view.limit, abs(view.hidden_sum))
    return _table(_bar(bar, limit) for bar in bars)


def _bar(bar: Bar, limit: float) -> str:
    percent = 50 * abs(bar.value) / limit
    left = 50.0 if bar.value >= 0 else 50 - percent
    colour = _css(POSITIVE if bar.value >= 0 else NEGATIVE)
    drawn = (
        f'<div style="position:relative;width:260px;height:13px;background:#f3f3f3">'
        f'<div style="position:absolute;left:{left:.2f}%;width:{percent:.2f}%;height:13px;'
        f'background:{colour}"></div></div>'
    )
    error = "" if bar.standard_error is None else f" \u00b1 {bar.standard_error:.2g}"
    return _row([_escaped(bar.label), drawn, f"{bar.value:+.4g}{error}"])


def _scores(labels: tuple[LabelScore, ...]) -> str:
    return _table(_score(each) for each in labels)


def _score(score: LabelScore) -> str:
    if score.probability is None:
        return _row([_escaped(score.label), "", f"{score.score:.4g}"])
    drawn = (
        f'<div style="width:260px;height:13px;background:#f3f3f3"><div style="height:13px;'
        f'width:{100 * score.probability:.2f}%;background:{_css(NEGATIVE)}"></div></div>'
    )
    return _row([_escaped(score.label), drawn, f"{score.probability:.1%}"])


def _table(rows: Iterable[str]) -> str:
    style = "border-collapse:collapse;margin:6px 0;font-size:13px"
    return f'<table style="{style}"><tbody>{"".join(rows)}</tbody></table>'


def _row(cells: Iterable[str]) -> str:
    written = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{written}</tr>"


def _boxed(parts: Iterable[str]) -> str:
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def _small(parts: Iterable[str]) -> str:
    text = _escaped(" \u00b7 ".join(parts))
    return f'<div style="font-size:12px;color:#555">{text}</div>' if text else ""


def _css(colour: RGB) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
