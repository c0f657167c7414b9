"""Pictures of the attributions of images."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
import torch
from captum.attr import visualization as reference
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adcaptum.attr import visualization

METHODS = [method.name for method in visualization.ImageVisualizationMethod]
SIGNS = [sign.name for sign in visualization.VisualizeSign]
UNSIGNED = {"masked_image", "alpha_scaling"}
RANDOM = np.random.default_rng(0)
ATTR = RANDOM.normal(size=(6, 5, 3))
IMAGE = RANDOM.random((6, 5, 3))
BYTES = (IMAGE * 255).astype(np.uint8)
IMAGES = {"floats": IMAGE, "bytes": BYTES, "grey": IMAGE[..., :1]}
DRAWN = [
    (method, sign)
    for method, sign in product(METHODS, SIGNS)
    if not (method in UNSIGNED and sign == "all")
]


def described(axes: Axes) -> list[tuple[Any, ...]]:
    """All that can be seen of the images on axes, beside their pixels."""
    found = []
    for image in axes.images:
        cmap = image.get_cmap()
        ends = tuple(tuple(cmap(x)) for x in (0.0, 0.25, 0.5, 1.0))
        found.append((image.get_clim(), image.get_alpha(), ends, tuple(image.get_extent())))
    return found


def pixels(axes: Axes) -> list[npt.NDArray[Any]]:
    return [np.asarray(image.get_array()).squeeze() for image in axes.images]


def assert_same_pictures(ours: Axes, theirs: Axes) -> None:
    for got, wanted in zip(pixels(ours), pixels(theirs), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert described(ours) == described(theirs)
    assert ours.get_title() == theirs.get_title()
    assert [t.get_text() for t in ours.get_xticklabels()] == [
        t.get_text() for t in theirs.get_xticklabels()
    ]


def heat(attr: Any, **kwargs: Any) -> npt.NDArray[Any]:
    _, axes = visualization.visualize_image_attr(attr, use_pyplot=False, **kwargs)
    array: npt.NDArray[Any] = np.asarray(axes.images[-1].get_array())
    return array


@pytest.mark.parametrize(
    ("method", "sign", "image"),
    [
        pytest.param(method, sign, image, id=f"{method}, {sign}, {kind}")
        for (method, sign), (kind, image) in product(DRAWN, IMAGES.items())
        # Captum cannot make a grey image transparent.
        if not (method == "alpha_scaling" and kind == "grey")
    ],
)
def test_pictures_are_captums(method: str, sign: str, image: npt.NDArray[Any]) -> None:
    arguments: dict[str, Any] = {"method": method, "sign": sign, "title": "A title"}
    drawn = [
        module.visualize_image_attr(ATTR, image, use_pyplot=False, **arguments)
        for module in (visualization, reference)
    ]
    assert_same_pictures(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"outlier_perc": 0.1},
        {"outlier_perc": 30.5, "sign": "all"},
        {"cmap": "viridis"},
        {"method": "blended_heat_map", "alpha_overlay": 0.2},
    ],
    ids=str,
)
def test_options_are_captums(arguments: dict[str, Any]) -> None:
    drawn = [
        module.visualize_image_attr(ATTR.sum(2), IMAGE, use_pyplot=False, **arguments)
        for module in (visualization, reference)
    ]
    assert_same_pictures(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize(("method", "visible"), [("heat_map", True), ("original_image", False)])
def test_a_colour_bars_place_is_there_and_empty_without_a_heat_map(
    method: str, visible: bool
) -> None:
    for module in (visualization, reference):
        figure, axes = module.visualize_image_attr(
            ATTR, IMAGE, method, show_colorbar=True, use_pyplot=False
        )
        bars = [other for other in figure.axes if other is not axes]
        assert [bar.axison for bar in bars] == [visible]


@pytest.mark.parametrize(("method", "sign"), DRAWN)
def test_zeros_are_a_blank_picture(method: str, sign: str) -> None:
    image = BYTES if method != "heat_map" else None
    figure, axes = visualization.visualize_image_attr(
        np.zeros((6, 5)), image, method, sign, use_pyplot=False
    )
    figure.canvas.draw()
    last = np.asarray(axes.images[-1].get_array())
    if method in {"heat_map", "blended_heat_map", "masked_image"}:
        assert not last.any()
    if method == "alpha_scaling":
        assert not last[..., 3].any()


def test_attributions_of_the_other_sign_only_are_a_blank_picture() -> None:
    assert not heat(-np.abs(ATTR), sign="positive").any()
    assert not heat(np.abs(ATTR), sign="negative").any()


def test_negative_attributions_stay_negative_where_both_signs_are_shown() -> None:
    got = heat(np.array([[-4.0, -1.0], [2.0, 4.0]]), sign="all", outlier_perc=0)
    assert got.tolist() == [[-1.0, -0.25], [0.5, 1.0]]


def test_without_outliers_the_largest_is_1() -> None:
    # Captum may find no largest: the percentage of the sum exceeds the sum by rounding.
    attr = ATTR.sum(2)
    with pytest.raises(IndexError):
        reference.visualize_image_attr(attr, outlier_perc=0, use_pyplot=False)
    np.testing.assert_allclose(heat(attr, outlier_perc=0), np.abs(attr) / np.abs(attr).max())


def test_everything_that_is_not_zero_may_be_an_outlier() -> None:
    got = heat(np.array([[0.0, -1.0], [2.0, 4.0]]), sign="all", outlier_perc=100)
    assert got.tolist() == [[0.0, -1.0], [1.0, 1.0]]


def test_what_is_not_a_number_leaves_the_rest_alone() -> None:
    attr = np.array([[np.nan, 1.0], [2.0, np.inf]])
    got = np.asarray(heat(attr, outlier_perc=0, sign="all"))
    np.testing.assert_array_equal(got[0, 1:], [0.5])
    np.testing.assert_array_equal(got[1], [1.0, 1.0])


def test_attributions_near_zero_are_drawn_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="close to 0") as caught:
        got = heat(ATTR * 1e-9)
    np.testing.assert_allclose(got, heat(ATTR))
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_are_drawn_as_arrays_are(dtype: torch.dtype) -> None:
    attr = torch.tensor(ATTR, dtype=dtype, requires_grad=True)
    image = torch.tensor(IMAGE, dtype=dtype)
    tensors, arrays = (
        visualization.visualize_image_attr(a, i, "masked_image", use_pyplot=False)[1]
        for a, i in (
            (attr, image),
            (
                attr.detach().float().numpy() if dtype is torch.bfloat16 else attr.detach().numpy(),
                image.float().numpy() if dtype is torch.bfloat16 else image.numpy(),
            ),
        )
    )
    assert_same_pictures(tensors, arrays)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_images_and_those_with_an_opacity_can_be_made_transparent(channels: int) -> None:
    image = RANDOM.integers(0, 256, (6, 5, channels))
    _, axes = visualization.visualize_image_attr(ATTR, image, "alpha_scaling", use_pyplot=False)
    got = np.asarray(axes.images[0].get_array())
    assert got.shape == (6, 5, 4)
    np.testing.assert_array_equal(got[..., :3], np.broadcast_to(image[..., :3], (6, 5, 3)))


def test_an_image_may_come_without_channels() -> None:
    for method in METHODS:
        flat, deep = (
            visualization.visualize_image_attr(ATTR, image, method, use_pyplot=False)[1]
            for image in (IMAGE[..., 0], IMAGE[..., :1])
        )
        assert_same_pictures(flat, deep)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"method": "blended_heat_map"}, ValueError),
        ({"method": "masked_image", "sign": "all", "original_image": IMAGE}, AssertionError),
        ({"method": "alpha_scaling", "sign": "all", "original_image": IMAGE}, AssertionError),
        ({"method": "cubist", "original_image": IMAGE}, AssertionError),
        ({"method": "cubist"}, KeyError),
        ({"sign": "imaginary"}, KeyError),
        ({"outlier_perc": 101}, AssertionError),
        ({"outlier_perc": -1}, AssertionError),
    ],
    ids=str,
)
def test_errors_are_of_captums_types_and_leave_no_figure(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    for module in (reference, visualization):
        plt.close("all")
        with pytest.raises(error):
            module.visualize_image_attr(ATTR, **arguments)
    assert plt.get_fignums() == []


def test_an_unknown_method_is_told_the_known_ones() -> None:
    with pytest.raises(AssertionError, match=r"^ImageVisualizationMethod is 'cubist': .*heat_map"):
        visualization.visualize_image_attr(ATTR, IMAGE, "cubist", use_pyplot=False)


@pytest.mark.parametrize("attr", [np.ones(3), np.ones((1, 6, 5, 3))], ids=["1d", "4d"])
def test_attributions_of_other_dimensions_raise_as_in_captum(attr: npt.NDArray[Any]) -> None:
    for module in (visualization, reference):
        with pytest.raises(TypeError):
            module.visualize_image_attr(attr, use_pyplot=False)


def test_channels_in_front_are_noticed() -> None:
    with pytest.raises(ValueError, match="channels last"):
        visualization.visualize_image_attr(ATTR.transpose(2, 0, 1), IMAGE, use_pyplot=False)


def test_attributions_of_another_size_can_be_shown_beside_but_not_over_an_image() -> None:
    visualization.visualize_image_attr_multiple(
        ATTR[:2, :2], IMAGE, ["original_image", "heat_map"], ["all", "all"], use_pyplot=False
    )
    with pytest.raises(ValueError, match="as large as the image"):
        visualization.visualize_image_attr(ATTR[:2, :2], IMAGE, "masked_image", use_pyplot=False)


def test_the_callers_figure_is_drawn_on() -> None:
    figure = Figure()
    axes = figure.subplots()
    drawn = visualization.visualize_image_attr(ATTR, plt_fig_axis=(figure, axes), use_pyplot=False)
    assert drawn == (figure, axes)
    assert len(axes.images) == 1
    assert plt.get_fignums() == []


def test_pyplot_shows_one_figure_once(shown: list[list[int]]) -> None:
    figure, _ = visualization.visualize_image_attr(ATTR, fig_size=(3, 2))
    assert shown == [[1]]
    assert plt.gcf() is figure
    assert figure.get_size_inches().tolist() == [3, 2]


def test_pyplot_shows_several_pictures_once(shown: list[list[int]]) -> None:
    visualization.visualize_image_attr_multiple(
        ATTR, IMAGE, ["original_image", "heat_map"], ["all", "positive"]
    )
    assert shown == [[1]]


def test_a_callers_figure_of_pyplot_is_not_registered_twice(shown: list[list[int]]) -> None:
    visualization.visualize_image_attr(ATTR, plt_fig_axis=plt.subplots())
    assert shown == [[1]]


def test_a_backend_without_windows_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a machine with a display matplotlib warns that nothing is shown.
    monkeypatch.setenv("DISPLAY", ":0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        visualization.visualize_image_attr(ATTR)
    assert caught == []


@pytest.mark.parametrize("multiple", [False, True])
def test_without_pyplot_it_knows_no_figure(multiple: bool) -> None:
    plt.figure(7)
    if multiple:
        visualization.visualize_image_attr_multiple(
            ATTR, IMAGE, ["heat_map"], ["all"], use_pyplot=False, show_colorbar=True
        )
    else:
        visualization.visualize_image_attr(ATTR, use_pyplot=False, show_colorbar=True)
    assert plt.get_fignums() == [7]


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_beside_each_other_are_captums(count: int) -> None:
    arguments = (
        ["original_image", "heat_map", "masked_image"][:count],
        ["all", "all", "negative"][:count],
    )
    titles = ["One", "Two", "Three"][:count]
    drawn = [
        module.visualize_image_attr_multiple(
            ATTR, IMAGE, *arguments, titles, use_pyplot=False, show_colorbar=True, outlier_perc=5
        )
        for module in (visualization, reference)
    ]
    (ours, got), (theirs, wanted) = drawn
    assert type(got) is type(wanted)
    assert len(ours.axes) == len(theirs.axes)
    pairs = zip(got, wanted, strict=True) if isinstance(got, list) else [(got, wanted)]
    for a, b in pairs:
        assert_same_pictures(a, b)


@pytest.mark.parametrize(
    ("signs", "titles"), [(["all"], None), (["all", "all"], ["One"])], ids=["signs", "titles"]
)
def test_as_many_signs_and_titles_as_methods_are_needed(signs: Any, titles: Any) -> None:
    for module in (visualization, reference):
        with pytest.raises(AssertionError):
            module.visualize_image_attr_multiple(ATTR, IMAGE, ["heat_map"] * 2, signs, titles)
    assert plt.get_fignums() == []


def test_a_mistake_in_one_of_several_pictures_leaves_no_figure() -> None:
    with pytest.raises(KeyError):
        visualization.visualize_image_attr_multiple(
            ATTR, IMAGE, ["heat_map", "heat_map"], ["all", "none"]
        )
    assert plt.get_fignums() == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_alone_needs_no_attributions(image: str) -> None:
    given: Any = IMAGES[image]
    _, axes = visualization.visualize_image_attr(
        ATTR, given, "original_image", "all", use_pyplot=False
    )
    _, alone = visualization.visualize_image_attr(
        None, given, "original_image", "all", use_pyplot=False
    )
    assert described(alone) == described(axes)
    _, both = visualization.visualize_image_attr_multiple(
        None, given, ["original_image"] * 2, ["all", "positive"], use_pyplot=False
    )
    assert isinstance(both, list)
    assert [described(each) for each in both] == [described(axes)] * 2


@pytest.mark.parametrize("method", [name for name in METHODS if name != "original_image"])
def test_every_other_picture_needs_attributions(method: str) -> None:
    with pytest.raises(AssertionError, match="attr is None"):
        visualization.visualize_image_attr(None, IMAGE, method, "positive", use_pyplot=False)
