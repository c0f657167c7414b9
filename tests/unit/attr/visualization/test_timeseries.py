"""Pictures of the attributions of time series."""

from __future__ import annotations

from itertools import product
from typing import Any

import matplotlib as mpl
import matplotlib.cm
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
import torch
from captum.attr import visualization as reference
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from adcaptum.attr import visualization

METHODS = [method.name for method in visualization.TimeseriesVisualizationMethod]
SIGNS = [sign.name for sign in visualization.VisualizeSign]
RANDOM = np.random.default_rng(0)
ATTR = RANDOM.normal(size=(9, 3))
DATA = RANDOM.normal(size=(9, 3))


@pytest.fixture
def captum_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captum calls what newer versions of matplotlib have elsewhere."""
    monkeypatch.setattr(matplotlib.cm, "get_cmap", mpl.colormaps.get_cmap, raising=False)


def listed(axes: Any) -> list[Axes]:
    return list(np.atleast_1d(axes))


def described(axes: Axes) -> dict[str, Any]:
    """All that is drawn on axes."""
    spans = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    pieces = [c for c in axes.collections if isinstance(c, LineCollection)]
    legend = axes.get_legend()
    return {
        "lines": [(line.get_xydata(), line.get_linewidth()) for line in axes.lines],
        "line colours": [line.get_color() for line in axes.lines],
        "spans": np.array([[*span.get_xy(), span.get_width()] for span in spans]),
        "span colours": np.array([span.get_facecolor() for span in spans]),
        "pieces": [c.get_segments() for c in pieces],
        "piece values": [np.asarray(c.get_array()) for c in pieces],
        "piece limits": [c.get_clim() for c in pieces],
        "x limits": np.array(axes.get_xlim()),
        "y label": axes.get_ylabel(),
        "title": axes.get_title(),
        "legend": [text.get_text() for text in legend.get_texts()] if legend else None,
    }


def assert_same(got: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_same(got[key], value)
    elif isinstance(wanted, list | tuple):
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b)
    elif isinstance(wanted, np.ndarray | float):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    else:
        assert got == wanted


@pytest.mark.usefixtures("captum_works", "shown")
@pytest.mark.parametrize(("method", "sign"), [*product(METHODS, SIGNS)])
def test_pictures_are_captums(method: str, sign: str) -> None:
    arguments: dict[str, Any] = {
        "x_values": np.linspace(2, 4, 9),
        "method": method,
        "sign": sign,
        "channel_labels": ["a", "b", "c"],
        "title": "A title",
        "show_colorbar": True,
        "linewidth": 3,
    }
    (ours, got), (theirs, wanted) = [
        module.visualize_timeseries_attr(ATTR, DATA, **arguments)
        for module in (visualization, reference)
    ]
    assert type(got) is type(wanted)
    assert len(ours.axes) == len(theirs.axes)
    for a, b in zip(listed(got), listed(wanted), strict=True):
        assert_same(described(a), described(b))


@pytest.mark.usefixtures("captum_works", "shown")
@pytest.mark.parametrize(
    "arguments",
    [{}, {"outlier_perc": 20}, {"cmap": "viridis", "alpha_overlay": 0.1}, {"color": "black"}],
    ids=str,
)
def test_options_are_captums(arguments: dict[str, Any]) -> None:
    _, got = visualization.visualize_timeseries_attr(ATTR, DATA, **arguments)
    _, wanted = reference.visualize_timeseries_attr(ATTR, DATA, **arguments)
    for a, b in zip(listed(got), listed(wanted), strict=True):
        assert_same(described(a), described(b))


@pytest.mark.parametrize("method", METHODS)
def test_it_draws_on_this_matplotlib(method: str) -> None:
    figure, _ = visualization.visualize_timeseries_attr(
        ATTR, DATA, method=method, use_pyplot=False, show_colorbar=True
    )
    figure.canvas.draw()
    assert plt.get_fignums() == []


@pytest.mark.parametrize("method", METHODS)
def test_channels_may_come_first_and_in_tensors(method: str) -> None:
    _, wanted = visualization.visualize_timeseries_attr(ATTR, DATA, method=method, use_pyplot=False)
    _, got = visualization.visualize_timeseries_attr(
        torch.tensor(ATTR.T, requires_grad=True),
        torch.tensor(DATA.T),
        torch.arange(9),
        method=method,
        channels_last=False,
        use_pyplot=False,
    )
    for a, b in zip(listed(got), listed(wanted), strict=True):
        assert_same(described(a), described(b))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", SIGNS)
def test_zeros_are_a_blank_picture(method: str, sign: str) -> None:
    figure, axes = visualization.visualize_timeseries_attr(
        np.zeros((4, 2)), np.zeros((4, 2)), method=method, sign=sign, use_pyplot=False
    )
    figure.canvas.draw()
    for one in listed(axes):
        drawn = described(one)
        assert len({tuple(colour) for colour in drawn["span colours"]}) <= 1
        assert not any(values.any() for values in drawn["piece values"])


@pytest.mark.parametrize("method", METHODS)
def test_a_single_point_is_drawn(method: str) -> None:
    with pytest.warns(UserWarning, match="3 channels of 1 points"):
        figure, axes = visualization.visualize_timeseries_attr(
            ATTR[:1], DATA[:1], method=method, use_pyplot=False
        )
    figure.canvas.draw()
    assert listed(axes)[0].get_xlim() == (-0.5, 0.5)


def test_a_points_background_reaches_half_way_to_its_neighbours() -> None:
    x = np.array([0.0, 1.0, 5.0])
    _, axes = visualization.visualize_timeseries_attr(
        ATTR[:3, :1], DATA[:3, :1], x, use_pyplot=False
    )
    assert isinstance(axes, Axes)
    spans = described(axes)["spans"]
    assert spans[:, 0].tolist() == [-0.5, 0.5, 3.0]
    assert spans[:, 2].tolist() == [1.0, 2.5, 4.0]


def test_a_coloured_graph_stays_within_its_panel_far_from_zero() -> None:
    _, axes = visualization.visualize_timeseries_attr(
        ATTR[:, :1], 100 + DATA[:, :1], method="colored_graph", use_pyplot=False
    )
    low, high = listed(axes)[0].get_ylim()
    assert low < 100 + DATA[:, 0].min()
    assert high > 100 + DATA[:, 0].max()


@pytest.mark.parametrize("wrap", [list, np.array])
def test_the_callers_axes_are_drawn_on(wrap: Any) -> None:
    figure = Figure()
    axes = wrap(list(figure.subplots(3)))
    drawn = visualization.visualize_timeseries_attr(
        ATTR, DATA, plt_fig_axis=(figure, axes), use_pyplot=False
    )
    assert drawn[0] is figure
    assert drawn[1] is axes
    assert [len(one.patches) for one in listed(drawn[1])] == [9, 9, 9]
    assert plt.get_fignums() == []


def test_too_few_axes_raise() -> None:
    figure = Figure()
    with pytest.raises(IndexError, match="2 axes for 3 panels"):
        visualization.visualize_timeseries_attr(
            ATTR, DATA, plt_fig_axis=(figure, list(figure.subplots(2))), use_pyplot=False
        )


def test_pyplot_shows_one_figure_once(shown: list[list[int]]) -> None:
    visualization.visualize_timeseries_attr(ATTR, DATA)
    assert shown == [[1]]


@pytest.mark.usefixtures("captum_works")
@pytest.mark.parametrize(
    ("attr", "data", "arguments", "error"),
    [
        (ATTR[0], DATA, {}, AssertionError),
        (ATTR, DATA[0], {}, AssertionError),
        (ATTR, DATA, {"x_values": np.arange(8)}, AssertionError),
        (ATTR, DATA, {"method": "cubist"}, KeyError),
        (ATTR, DATA, {"sign": "imaginary"}, KeyError),
    ],
    ids=["attr", "data", "x_values", "method", "sign"],
)
def test_errors_are_of_captums_types_and_leave_no_figure(
    attr: npt.NDArray[Any], data: npt.NDArray[Any], arguments: dict[str, Any], error: Any
) -> None:
    for module in (reference, visualization):
        plt.close("all")
        with pytest.raises(error):
            module.visualize_timeseries_attr(attr, data, **arguments)
    assert plt.get_fignums() == []


def test_attributions_of_another_shape_raise() -> None:
    with pytest.raises(AssertionError, match="as the data"):
        visualization.visualize_timeseries_attr(ATTR[:4], DATA, use_pyplot=False)
