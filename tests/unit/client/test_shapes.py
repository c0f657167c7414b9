"""Answers that do not have the input's shape: matrices of pairs, maps and values of layers."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from adcaptum.client import Attribution, Explanation, Method
from adcaptum.client.codec.replies import decode_explanations
from adcaptum.client.drawing.terminal import render_explanation
from adcaptum.client.drawing.view import HeatMap, Matrix, views_of
from tests.unit.client import canned

IMAGE = np.random.default_rng(0).uniform(size=(3, 16, 16))


def pairs() -> Explanation:
    return decode_explanations(canned.explained(canned.pairs()))[0]


def explained(
    values: NDArray[np.float64], *, name: str = "layer", image: bool = True
) -> Explanation:
    inputs = {"image": IMAGE} if image else {}
    return Explanation(Method("method"), 0, 0, (1,), "", {name: Attribution(values)}, inputs=inputs)


def printed(explanation: Explanation, *, colours: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=100,
        force_terminal=colours,
        color_system="truecolor" if colours else None,
    )
    render_explanation(explanation, console)
    return file.getvalue()


def test_pairs_bring_the_names_of_their_features() -> None:
    explanation = pairs()
    assert explanation.attributions == {}
    assert explanation.interactions is not None
    assert explanation.interactions.values.shape == (3, 3)
    assert explanation.interactions.features == ("radius", "texture", "area")


def test_pairs_are_a_matrix() -> None:
    (view,) = views_of(pairs())
    assert isinstance(view, Matrix)
    assert view.labels == ("radius", "texture", "area")
    assert view.limit == 2
    assert view.scaled[1, 1] == -1


def test_of_many_features_the_weightiest_are_shown_in_their_order() -> None:
    (view,) = views_of(pairs(), max_bars=2)
    assert isinstance(view, Matrix)
    assert view.labels == ("radius", "texture")
    assert view.values.tolist() == [[0.5, 0.2], [0.2, -2.0]]
    assert view.hidden == 1


def test_a_matrix_is_drawn_with_a_number_in_each_cell(tmp_path: Path) -> None:
    pairs().save_png(tmp_path / "why.png")
    (axes,) = pairs().plot().subfigs[0].axes
    assert len(axes.texts) == 9
    assert axes.get_yticklabels()[0].get_text() == "1 radius"


def test_the_html_of_a_matrix_names_rows_and_columns() -> None:
    page = pairs()._repr_html_()
    assert page.count("texture") == 2
    assert "-2" in page


@pytest.mark.parametrize("colours", [True, False], ids=["coloured", "plain"])
def test_a_terminal_shows_a_matrix(colours: bool) -> None:
    text = printed(pairs(), colours=colours)
    assert "2 texture" in text
    assert "+0.4" in text


def test_a_narrow_terminal_shows_as_many_features_as_fit() -> None:
    file = io.StringIO()
    render_explanation(pairs(), Console(file=file, width=48, color_system=None))
    assert "1 others, which weigh less" in file.getvalue()
    assert "area" not in file.getvalue()


def test_a_class_activation_map_is_laid_over_the_image() -> None:
    explanation = explained(np.arange(16.0).reshape(1, 4, 4))
    (view,) = views_of(explanation)
    assert isinstance(view, HeatMap)
    assert view.image is not None
    assert view.values.shape == (16, 16)


def test_tokens_and_components_of_a_layer_are_not_laid_over_the_image() -> None:
    (view,) = views_of(explained(np.ones((5, 7))))
    assert isinstance(view, HeatMap)
    assert view.image is None
    assert view.values.shape == (5, 7)


def test_an_inputs_map_summed_over_channels_is_laid_over_it() -> None:
    (view,) = views_of(explained(np.ones((16, 16)), name="image"))
    assert isinstance(view, HeatMap)
    assert view.image is not None


@pytest.mark.parametrize(
    "shape", [(), (3,), (0,), (2, 3), (1, 1, 1), (2, 1, 3, 4), (2, 2, 2, 2, 2)]
)
@pytest.mark.parametrize("fill", [1.0, np.nan], ids=["numbers", "nan"])
def test_every_shape_can_be_shown(shape: tuple[int, ...], fill: float) -> None:
    explanation = explained(np.full(shape, fill))
    explanation.plot()
    assert explanation._repr_html_()
    assert "method" in printed(explanation, colours=True)
    assert "method" in printed(explanation)


def test_operations_without_a_rule_are_told() -> None:
    message = canned.explained()
    message.results[0].uncovered_ops.extend(["einsum", "fft"])
    explanation = decode_explanations(message)[0]
    assert explanation.report is not None
    assert explanation.report.uncovered_ops == ("einsum", "fft")
    assert "warning: integrated_gradients has no rule for einsum, fft" in printed(explanation)
    assert "no rule for einsum, fft" in explanation._repr_html_()
    drawn = [text.get_text() for text in explanation.plot().subfigs[0].texts]
    assert any("no rule for einsum" in text for text in drawn)


def test_numbers_that_are_not_finite_and_texts_that_were_cut_are_told() -> None:
    message = canned.explained()
    message.results[0].non_finite = 3
    message.warnings.append("inputs[0].data[1]: the text is cut behind character 40")
    explanations = decode_explanations(message)
    report = explanations[0].report
    assert report is not None
    assert report.non_finite == 3
    assert explanations.warnings == tuple(message.warnings)
    shown = explanations._repr_html_()
    assert "3 attributions of the request are NaN or infinite" in shown
    assert "cut behind character 40" in shown
    assert "3 attributions of the request" in printed(explanations[0])


def test_without_such_operations_nothing_is_told() -> None:
    explanation = decode_explanations(canned.explained())[0]
    assert "rule" not in printed(explanation) + explanation._repr_html_()
    assert dataclasses.replace(explanation, report=None)._repr_html_()
