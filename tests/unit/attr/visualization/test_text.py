"""Attributions of tokens, as HTML."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import visualization as reference

from adcaptum.attr import visualization

HOSTILE = "a <script>alert('&')</script>"
ARGUMENTS: dict[str, Any] = {
    "word_attributions": torch.tensor([0.5, -1.0, 0.0]),
    "pred_prob": 0.876,
    "pred_class": 1,
    "true_class": "good",
    "attr_class": "good",
    "attr_score": torch.tensor(1.234),
    "raw_input_ids": ["<s>", "a", "film"],
    "convergence_score": 0.01,
}


def record(**changes: Any) -> visualization.VisualizationDataRecord:
    return visualization.VisualizationDataRecord(**{**ARGUMENTS, **changes})


class Seen(HTMLParser):
    """The elements and words that a reader of HTML finds."""

    def __init__(self, html: str, *, closed: bool = True) -> None:
        super().__init__()
        self.closed = closed
        self.found: list[Any] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [(name, " ".join((v or "").split())) for name, v in attrs]))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.closed:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.found.extend(data.split())


def seen(html: str) -> list[Any]:
    reader = Seen(html)
    assert reader.open == []
    return reader.found


def test_a_record_has_captums_slots() -> None:
    slots = visualization.VisualizationDataRecord.__slots__
    assert list(slots) == list(reference.VisualizationDataRecord.__slots__)
    ours, theirs = record(), reference.VisualizationDataRecord(*ARGUMENTS.values())
    assert all(getattr(ours, name) is getattr(theirs, name) for name in slots)


@pytest.mark.parametrize(
    "importances",
    [[0.5, -1.0, 0.0], np.array([0.3, -0.2, 7.0]), torch.tensor([1.0, -0.5, 0.25, 9.0]), [], None],
    ids=["list", "array", "tensor, longer", "empty", "None"],
)
def test_words_are_marked_as_captum_marks_them(importances: Any) -> None:
    words = [] if importances is None else ["<s>", "a", "film"]
    ours, theirs = (
        module.format_word_importances(words, importances) for module in (visualization, reference)
    )
    assert seen(ours) == seen(theirs)


@pytest.mark.parametrize("name", ["positive", 3])
def test_names_of_classes_are_captums(name: Any) -> None:
    assert visualization.format_classname(name) == reference.format_classname(name)


@pytest.mark.parametrize("token", ["word", "<s>", "<pad>", "<", "a>"])
def test_special_tokens_are_captums(token: str) -> None:
    ours, theirs = (m.format_special_tokens(token) for m in (visualization, reference))
    assert ours == theirs


def test_tooltips_are_captums() -> None:
    ours, theirs = (m.format_tooltip("item", "a text") for m in (visualization, reference))
    assert seen(ours) == seen(theirs)


def test_html_in_words_and_names_is_shown_as_it_is_written() -> None:
    assert "<script>" in reference.format_word_importances([HOSTILE], [1.0])
    html = visualization.visualize_text(
        [record(raw_input_ids=[HOSTILE, "</td>", "&lt;"], pred_class=HOSTILE, true_class=HOSTILE)]
    ).data
    assert "script" not in {found[0] for found in seen(html) if isinstance(found, tuple)}
    assert html.count("&lt;script&gt;alert(") == 3
    assert "&amp;lt;" in html
    assert "<script" not in visualization.format_tooltip(HOSTILE, HOSTILE)


def test_what_is_not_a_number_has_no_colour() -> None:
    html = visualization.format_word_importances(["a"], [float("nan")])
    assert "hsl(0, 75%, 100%)" in html


@pytest.mark.parametrize(
    ("words", "importances"), [(["a", "b"], [1.0]), (["a"], np.ones((1, 2)))], ids=["few", "2d"]
)
def test_importances_that_do_not_fit_raise_as_in_captum(words: Any, importances: Any) -> None:
    for module in (visualization, reference):
        with pytest.raises(AssertionError):
            module.format_word_importances(words, importances)


@pytest.mark.parametrize("legend", [True, False])
def test_texts_show_what_captums_do(legend: bool, capsys: pytest.CaptureFixture[str]) -> None:
    records = [record(), record(true_class="bad", raw_input_ids=["x"])]
    ours, theirs = (m.visualize_text(records, legend) for m in (visualization, reference))
    assert type(ours) is type(theirs)
    # Captum does not close its rows.
    wanted = [x for x in Seen(theirs.data, closed=False).found if x[0] not in {"table", "tr"}]
    got = [x for x in seen(ours.data) if x[0] not in {"table", "tr"}]
    assert got == wanted
    assert capsys.readouterr().out.count("IPython.core.display.HTML object") == 2


def test_texts_need_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(AssertionError, match="pip install ipython"):
        visualization.visualize_text([record()])
