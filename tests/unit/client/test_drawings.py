"""Figures, HTML and terminal output, and what they all show."""

import base64
import dataclasses
import html
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from adcaptum.client import (
    Attribution,
    Explanation,
    Explanations,
    Method,
    MethodReport,
    MethodResult,
    PredictResult,
    Timings,
    Token,
)
from adcaptum.client.codec.replies import decode_explanations, decode_prediction
from adcaptum.client.codec.tensors import encode_tensor
from adcaptum.client.drawing.png import draw
from adcaptum.client.drawing.summary import heading
from adcaptum.client.drawing.terminal import (
    render_explanation,
    render_explanations,
    render_prediction,
)
from adcaptum.client.drawing.view import BarChart, HeatMap, TokenStrip, views_of
from adcaptum.client.results.rendering import renderer
from adcaptum.v1 import explanation_pb2
from tests.unit.client import canned

HOSTILE = '<script>alert("x")</script> $a$ & [bold]'
KINDS = {"table": canned.table(), "text": canned.text(), "image": canned.image()}


def one(message: explanation_pb2.Explanation) -> Explanation:
    return decode_explanations(canned.explained(message))[0]


def all_kinds() -> Explanations:
    return decode_explanations(canned.explained(*KINDS.values()))


def with_image(explanation: Explanation) -> Explanation:
    image = np.random.default_rng(0).uniform(size=(3, 16, 16))
    return dataclasses.replace(explanation, inputs={"image": image})


def hostile() -> Explanations:
    table = Explanation(
        method=Method(HOSTILE),
        example=0,
        target=0,
        index=(),
        label=HOSTILE,
        attributions={HOSTILE: Attribution(np.array([1.0]), features=(HOSTILE,), units=(HOSTILE,))},
        inputs={HOSTILE: np.array([3.0])},
    )
    text = dataclasses.replace(
        table,
        attributions={HOSTILE: Attribution(np.array([1.0]), tokens=(Token(HOSTILE, 0, 9),))},
    )
    result = MethodResult(MethodReport(table.method), (table, text))
    return dataclasses.replace(all_kinds(), results=(result,))


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def printed(explanation: Explanation, *, colours: bool) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=100,
        force_terminal=colours,
        color_system="truecolor" if colours else None,
    )
    render_explanation(explanation, console)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_explanation_can_be_drawn(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    one(KINDS[kind]).save_png(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_all_explanations_fit_on_one_figure(tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    all_kinds().save_png(path)
    with Image.open(path) as picture:
        assert picture.height > picture.width


def test_a_heat_map_is_laid_over_the_image(tmp_path: Path) -> None:
    explanation = with_image(one(canned.image()))
    axes = explanation.plot().subfigs[0].axes
    assert len([each for each in axes if each.images]) == 2


def test_the_caller_can_bring_the_image() -> None:
    axes = one(canned.image()).plot(np.zeros((32, 32, 3), np.uint8)).subfigs[0].axes
    shown = axes[0].images[0].get_array()
    assert shown is not None
    assert shown.shape == (32, 32, 3)


def test_what_is_not_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="not an image"):
        one(canned.image()).plot(np.zeros((5, 5, 5)))


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="no attributions"):
        draw([])


def test_hostile_names_can_be_drawn(tmp_path: Path) -> None:
    hostile().save_png(tmp_path / "why.png")


def test_the_lack_of_matplotlib_is_told() -> None:
    program = (
        "import sys; sys.modules['matplotlib.axes'] = None\n"
        "try: import adcaptum.client.drawing.png\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "pip install 'adcaptum[plot]'" in done.stdout


def test_results_are_drawn_by_the_registered_renderer_alone() -> None:
    program = (
        "import sys, adcaptum.client\n"
        "from adcaptum.client.results import rendering\n"
        "print(type(rendering.renderer()).__module__)\n"
        "print([name for name in sys.modules if name.startswith(('matplotlib', 'rich'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["adcaptum.client.drawing", "[]"]


def test_what_is_no_result_has_no_html() -> None:
    with pytest.raises(TypeError, match="int has no drawing"):
        renderer().html(1)


@pytest.mark.parametrize(("lowest", "values"), [(0.0, [[0, 1], [2, 3]]), (-3.0, [[0, -1], [2, 3]])])
def test_the_colour_scale_has_a_negative_half_where_it_is_used(
    lowest: float, values: list[list[int]]
) -> None:
    attribution = dataclasses.replace(
        one(canned.image()).attributions["image"], values=np.array([values])
    )
    explanation = dataclasses.replace(one(canned.image()), attributions={"image": attribution})
    scale = explanation.plot().subfigs[0].axes[-1].get_ylim()
    assert scale == pytest.approx((lowest, 3))
    assert f"{lowest:.3g}<span" in explanation._repr_html_()


def test_signs_tell_positive_from_negative_without_colours() -> None:
    values = np.linspace(-1, 1, 16).reshape(1, 1, 16).repeat(4, axis=1)
    attribution = dataclasses.replace(one(canned.image()).attributions["image"], values=values)
    written = io.StringIO()
    explanation = dataclasses.replace(one(canned.image()), attributions={"image": attribution})
    render_explanation(explanation, Console(file=written, width=80, color_system=None))
    drawn = written.getvalue()
    assert "==--~~~  :::++##" in drawn
    assert "~ - = negative, : + # positive" in drawn


@pytest.mark.parametrize(("error", "told"), [(0.003, False), (1.2, True)])
def test_a_large_completeness_error_comes_with_advice(error: float, told: bool) -> None:
    table = canned.table()
    table.error.completeness = error
    message = canned.explained(table)
    (explanation,) = decode_explanations(message)
    assert explanation.report is not None
    advice = "The attributions miss 40% of the output's change: take more steps, or a tolerance."
    page = explanation._repr_html_()
    assert (html.escape(advice) in page) == told
    plain = dataclasses.replace(explanation.report, method=Method("deep_lift"))
    page = dataclasses.replace(explanation, report=plain)._repr_html_()
    assert (html.escape("The attributions miss 40% of the output's change.") in page) == told


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (explanation_pb2.STOP_REASON_COMPLETED, ""),
        (explanation_pb2.STOP_REASON_CONVERGED, ""),
        (explanation_pb2.STOP_REASON_BUDGET, "stopped by the budget"),
        (explanation_pb2.STOP_REASON_DEADLINE, "stopped by the deadline"),
        (explanation_pb2.STOP_REASON_EXHAUSTED, "as exact as the method can be"),
    ],
)
def test_an_end_before_the_end_is_told(
    reason: explanation_pb2.StopReason.ValueType, told: str
) -> None:
    table = canned.table()
    table.stop_reason = reason
    page = one(table)._repr_html_()
    assert told in page
    assert ("stopped" in page or "as exact" in page) == bool(told)


def test_the_title_names_an_output_without_labels() -> None:
    table = canned.table()
    table.label = ""
    message = canned.explained(table)
    assert heading(decode_explanations(message)[0]).endswith("why output 0")
    message.outputs.add().CopyFrom(encode_tensor(np.zeros((1, 3)), "price"))
    assert heading(decode_explanations(message)[0]).endswith("why price[0]")
    message.outputs[0].CopyFrom(encode_tensor(np.zeros((1, 1)), "price"))
    assert heading(decode_explanations(message)[0]).endswith("why price")
    table.ClearField("index")
    assert heading(decode_explanations(canned.explained(table))[0]).endswith("why the output")


def test_html_is_one_piece_that_fetches_nothing() -> None:
    page = decode_explanations(canned.explained(*KINDS.values()))._repr_html_()
    reader = read(page)
    assert not reader.tags & {"script", "link", "iframe", "style"}
    assert set(re.findall(r'src="([a-z]+):', page)) == {"data"}
    assert "http" not in page


def test_html_holds_the_heat_map_as_a_png() -> None:
    page = with_image(one(canned.image()))._repr_html_()
    pictures = re.findall(r"base64,([^\"]+)", page)
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
            assert opened.size == (16, 16)


def test_html_escapes_every_name() -> None:
    page = hostile()._repr_html_()
    reader = read(page)
    assert "script" not in reader.tags
    assert reader.text.count("<script>") >= 5


def test_the_html_of_a_prediction_escapes_labels() -> None:
    message = canned.prediction()
    message.predictions[0].labels[0].label = HOSTILE
    reader = read(decode_prediction(message)._repr_html_())
    assert "script" not in reader.tags
    assert HOSTILE in reader.text


def test_the_html_of_a_prediction_without_labels_shows_the_numbers() -> None:
    message = canned.prediction()
    message.ClearField("predictions")
    assert "[[2.0, -1.0]]" in read(decode_prediction(message)._repr_html_()).text


def test_bars_are_ordered_by_magnitude_and_name_values_and_units() -> None:
    attribution = Attribution(
        np.array([0.5, -2.0, 0.1]),
        features=("radius", "texture", "area"),
        units=("µm", "", "µm²"),
    )
    explanation = Explanation(
        method=Method("saliency"),
        example=0,
        target=0,
        index=(0,),
        label="",
        attributions={"x": attribution},
        inputs={"x": np.array([17.99, 10.38, 1001.0])},
    )
    (view,) = views_of(explanation, max_bars=2)
    assert isinstance(view, BarChart)
    assert [bar.label for bar in view.bars] == ["texture = 10.38", "radius = 17.99 µm"]
    assert view.hidden == 1
    assert view.hidden_sum == pytest.approx(0.1)


def test_kept_features_keep_their_names() -> None:
    attribution = Attribution(
        np.array([3.0, 1.0]), indices=np.array([2, 0]), shape=(4,), features=tuple("abcd")
    )
    (view,) = views_of(Explanation(Method("saliency"), 0, 0, (), "", {"x": attribution}))
    assert isinstance(view, BarChart)
    assert [bar.label for bar in view.bars] == ["c", "a"]


def test_kept_tokens_stand_in_the_order_of_the_text() -> None:
    tokens = (Token("film", 5, 9), Token("good", 0, 4))
    attribution = Attribution(np.array([3.0, 1.0]), indices=np.array([2, 1]), tokens=tokens)
    (view,) = views_of(Explanation(Method("saliency"), 0, 0, (), "", {"x": attribution}))
    assert isinstance(view, TokenStrip)
    assert [(token.text, token.value) for token in view.tokens] == [("good", 1.0), ("film", 3.0)]


def test_the_pieces_of_a_word_stand_together() -> None:
    (view,) = views_of(one(canned.text()))
    assert isinstance(view, TokenStrip)
    assert [(token.text, token.glued) for token in view.tokens] == [
        ("[CLS]", False),
        ("good", False),
        ("fil", False),
        ("m", True),
    ]


def test_a_heat_map_sums_over_channels() -> None:
    (view,) = views_of(one(canned.image()))
    assert isinstance(view, HeatMap)
    assert view.values[0, 0] == -3
    assert view.values[0, -1] == 3


def test_a_layers_map_is_enlarged_to_the_image() -> None:
    explanation = dataclasses.replace(
        one(canned.image()), attributions={"layer": Attribution(np.ones((8, 4, 4)))}
    )
    (view,) = views_of(with_image(explanation))
    assert isinstance(view, HeatMap)
    assert view.values.shape == (16, 16)
    np.testing.assert_allclose(view.values, 8)


def test_a_few_outliers_do_not_fade_a_large_map() -> None:
    values = np.ones((64, 64))
    values[0, 0] = 1000
    (view,) = views_of(Explanation(Method("saliency"), 0, 0, (), "", {"x": Attribution(values)}))
    assert isinstance(view, HeatMap)
    assert view.limit < 10
    assert view.clipped


def test_attributions_that_are_all_zero_can_be_shown() -> None:
    zero = Explanation(Method("saliency"), 0, 0, (), "", {"x": Attribution(np.zeros((3, 8, 8)))})
    zero.plot()
    zero._repr_html_()
    assert printed(zero, colours=True)


@pytest.mark.parametrize("colours", [True, False], ids=["coloured", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_shows_each_kind_of_explanation(kind: str, colours: bool) -> None:
    text = printed(one(KINDS[kind]), colours=colours)
    assert "integrated_gradients: why “malignant”" in text
    assert "completeness error 0.003 (0.1% of the change)" in text
    assert "51 rows" in text


def test_a_terminal_draws_two_pixels_in_a_character() -> None:
    lines = printed(one(canned.image()), colours=True).splitlines()
    assert len([line for line in lines if "▀" in line]) == 8


def test_a_terminal_puts_the_heat_map_beside_the_image() -> None:
    lines = printed(with_image(one(canned.image())), colours=True).splitlines()
    assert max(line.count("▀") for line in lines) == 32


def test_without_colours_signs_stand_for_a_heat_map() -> None:
    assert "========########" in printed(one(canned.image()), colours=False)


def test_without_colours_numbers_stand_for_the_colours_of_tokens() -> None:
    assert "good(+1.5) fil(-0.5)m(+0.2)" in printed(one(canned.text()), colours=False)


def test_a_terminal_prints_hostile_names_as_they_are() -> None:
    file = io.StringIO()
    render_explanations(hostile(), Console(file=file, width=200))
    assert HOSTILE in file.getvalue()


def test_a_terminal_ends_with_where_the_time_went() -> None:
    file = io.StringIO()
    render_explanations(all_kinds(), Console(file=file, width=100))
    last = file.getvalue().splitlines()[-1]
    assert last == "cells 1 · 25 ms in all · 1.0 ms in the queue · 20 ms in 2 batches"


def test_a_terminal_shows_a_prediction() -> None:
    file = io.StringIO()
    render_prediction(decode_prediction(canned.prediction()), Console(file=file, width=100))
    assert re.search(r"malignant .*95\.0%", file.getvalue())


def test_a_terminal_shows_a_prediction_without_labels() -> None:
    result = PredictResult(
        model=all_kinds().model,
        outputs={"price": np.array([[1.5]])},
        predictions=(),
        timings=Timings(0, 0, 0, 1),
        request_id="",
    )
    file = io.StringIO()
    render_prediction(result, Console(file=file, width=100))
    assert "price: [[1.5]]" in file.getvalue()
