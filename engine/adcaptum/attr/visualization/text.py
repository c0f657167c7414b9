"""Attributions of tokens, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from adcaptum.attr.errors import InvalidInput

if TYPE_CHECKING:
    from IPython.display import HTML

Importances = Sequence[float] | npt.NDArray[np.number] | Tensor

_COLUMNS = (
    "True Label",
    "Predicted Label",
    "Attribution Label",
    "Attribution Score",
    "Word Importance",
)


@dataclass(slots=True, eq=False)
class VisualizationDataRecord:
    """A text, a model's prediction, and the attributions of its tokens.

    Attributes:
        word_attributions: The attributions, from -1 to 1, one per token at least.
        pred_prob: The probability of the predicted class.
        pred_class: The predicted class.
        true_class: The true class.
        attr_class: The class whose score is explained.
        attr_score: The sum of the attributions.
        raw_input_ids: The tokens.
        convergence_score: The convergence delta; not shown.
    """

    word_attributions: Importances
    pred_prob: float
    pred_class: int | str
    true_class: int | str
    attr_class: int | str
    attr_score: float
    raw_input_ids: Sequence[str]
    convergence_score: float


def format_classname(classname: str | int) -> str:
    """Returns a table cell with a name, escaped."""
    return f'<td><text style="padding-right:2em"><b>{escape(str(classname))}</b></text></td>'


def format_special_tokens(token: str) -> str:
    """Returns the token; `<token>` as `#token`. It is not escaped."""
    if token.startswith("<") and token.endswith(">"):
        return f"#{token.strip('<>')}"
    return token


def format_tooltip(item: str, text: str) -> str:
    """Returns an item with a tooltip, both escaped."""
    return (
        f'<div class="tooltip">{escape(item)}<span class="tooltiptext">{escape(text)}</span></div>'
    )


def format_word_importances(words: Sequence[str], importances: Importances | None) -> str:
    """Returns a table cell with words on the colours of their importances.

    Args:
        words: The words, which are escaped.
        importances: From -1 (red) to 1 (green), one per word; more are ignored.

    Raises:
        AssertionError: If there are fewer importances than words, or they have more than one
            dimension.
    """
    if importances is None or len(importances) == 0:
        return "<td></td>"
    if isinstance(importances, np.ndarray | Tensor) and importances.ndim != 1:
        raise InvalidInput("importances", f"of shape {tuple(importances.shape)}", "(words,)")
    if len(words) > len(importances):
        raise InvalidInput("importances", f"of length {len(importances)}", f"{len(words)} words")
    marks = (
        f'<mark style="background-color: {_colour(float(importance))}; opacity:1.0; '
        f'line-height:1.75"><font color="black"> {escape(format_special_tokens(word))}'
        "</font></mark>"
        for word, importance in zip(words, importances, strict=False)
    )
    return f"<td>{''.join(marks)}</td>"


def visualize_text(datarecords: Iterable[VisualizationDataRecord], legend: bool = True) -> HTML:
    """Displays texts with their tokens on the colours of their attributions, in a notebook.

    Args:
        datarecords: The texts, a row each.
        legend: Whether to draw a legend of the colours above.

    Returns:
        The displayed table.

    Raises:
        AssertionError: If IPython is not installed.
    """
    try:
        from IPython.display import HTML, display  # noqa: PLC0415 - notebooks have it
    except ImportError as error:
        raise AssertionError("texts are shown by IPython: pip install ipython") from error
    heading = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(f"<tr>{_cells(record)}</tr>" for record in datarecords)
    table = f'<table style="width: 100%"><tr>{heading}</tr>{rows}</table>'
    html = HTML((_legend() if legend else "") + table)
    display(html)
    return html


def _cells(record: VisualizationDataRecord) -> str:
    return "".join(
        (
            format_classname(record.true_class),
            format_classname(f"{record.pred_class} ({record.pred_prob:.2f})"),
            format_classname(record.attr_class),
            format_classname(f"{record.attr_score:.2f}"),
            format_word_importances(record.raw_input_ids, record.word_attributions),
        )
    )


def _legend() -> str:
    samples = "".join(
        '<span style="display: inline-block; width: 10px; height: 10px; '
        f'border: 1px solid; background-color: {_colour(value)}"></span> {label}  '
        for value, label in ((-1, "Negative"), (0, "Neutral"), (1, "Positive"))
    )
    return (
        '<div style="border-top: 1px solid; margin-top: 5px; padding-top: 5px; '
        f'display: inline-block"><b>Legend: </b>{samples}</div>'
    )


def _colour(value: float) -> str:
    """Returns the colour: green for 1, red for -1, white for 0 and for NaN."""
    if np.isnan(value):
        value = 0.0
    value = max(-1.0, min(1.0, value))
    hue, depth = (120, 50) if value > 0 else (0, 40)
    return f"hsl({hue}, 75%, {100 - int(depth * abs(value))}%)"
