"""The words of a command line."""

from pathlib import Path

import numpy as np
import pytest
import typer

from adcaptum.client import (
    Background,
    Blur,
    Distribution,
    Method,
    ModelInfo,
    Neuron,
    Spec,
    TopK,
)
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.client.target import Target
from adcaptum.service.cli.arguments import (
    parse_baseline,
    parse_methods,
    parse_neuron,
    parse_site,
    parse_target,
    parse_targets,
)
from adcaptum.service.cli.inputs import InputOptions
from tests.unit.client import canned


def cells() -> ModelInfo:
    return decode_model(canned.model())


def nobody() -> ModelInfo:
    raise AssertionError("nobody needs to be asked")


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("3", 3),
        ("1,0", (1, 0)),
        ("top:5", TopK(5)),
        ("all", "all"),
        ("tabby cat", "tabby cat"),
    ],
)
def test_targets(word: str, target: Target) -> None:
    assert parse_target(word) == target
    assert parse_targets([word, "x"], []) == [target, "x"]


def test_neurons_are_targets_beside_others() -> None:
    assert parse_targets(["2"], ["hidden:5"]) == [2, Neuron("hidden", (5,))]
    assert parse_targets([], []) is None


@pytest.mark.parametrize(
    ("word", "baseline"),
    [
        ("0.5", 0.5),
        ("0", 0.0),
        ("mean", "mean"),
        ("blur:2.5", Blur(2.5)),
        ("background:20", Background(20)),
        (None, None),
    ],
)
def test_baselines(word: str | None, baseline: object) -> None:
    assert parse_baseline(word) == baseline


def test_a_baseline_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "base.npy"
    np.save(path, np.ones((1, 3)))
    np.testing.assert_array_equal(np.asarray(parse_baseline(str(path))), np.ones((1, 3)))
    rows = parse_baseline(f"distribution:{path}")
    assert isinstance(rows, Distribution)
    np.testing.assert_array_equal(np.asarray(rows.rows), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("word", "neuron"),
    [
        ("hidden:5", Neuron("hidden", (5,))),
        ("blocks.1@input:3,0,2", Neuron("blocks.1", (3, 0, 2), at_input=True)),
        ("features:0..4,1", Neuron("features", (slice(0, 4), 1))),
    ],
)
def test_neurons(word: str, neuron: Neuron) -> None:
    assert parse_neuron(word, "--neuron") == neuron


@pytest.mark.parametrize("word", ["hidden", "hidden:", "hidden:x", "hidden:1..", "hidden:1,,2"])
def test_wrong_neurons(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_neuron(word, "--through")


def test_layers() -> None:
    site, at_input = parse_site("hidden"), parse_site("hidden@input")
    assert site is not None
    assert at_input is not None
    assert (site.layer, site.at_input) == ("hidden", False)
    assert (at_input.layer, at_input.at_input) == ("hidden", True)
    assert parse_site(None) is None


def test_baselines_and_masks_at_layers(tmp_path: Path) -> None:
    path = tmp_path / "base.npy"
    np.save(path, np.ones((1, 3)))
    site = parse_site("hidden", ["0.5", str(path), f"distribution:{path}"], [path])
    assert site is not None
    number, read, rows = site.baselines  # type: ignore[misc] # several
    assert number == 0.5
    np.testing.assert_array_equal(np.asarray(read), np.ones((1, 3)))
    assert isinstance(rows, Distribution)
    (mask,) = site.feature_masks  # type: ignore[misc] # several
    np.testing.assert_array_equal(np.asarray(mask), np.ones((1, 3)))


@pytest.mark.parametrize("word", ["mean", "blur:2", "background:2", "nowhere.npy"])
def test_wrong_baselines_at_layers(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_site("hidden", [word])


def test_what_belongs_to_a_layer_needs_one() -> None:
    with pytest.raises(typer.BadParameter, match="needs --layer"):
        parse_site(None, ["0.5"])
    with pytest.raises(typer.BadParameter, match="needs --layer"):
        parse_site(None, [], [Path("mask.npy")])


@pytest.mark.parametrize(
    "word", ["blur:x", "background:1.5", "distribution:nowhere.npy", "nowhere.npy"]
)
def test_wrong_baselines(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_baseline(word)


def test_parameters_get_the_type_that_they_look_like() -> None:
    words = ["n=5", "x=0.5", "flag=true", "window=3,3", "kind=vargrad", "scale=1e-3"]
    assert parse_methods(["m"], words) == [
        Method("m", n=5, x=0.5, flag=True, window=[3, 3], kind="vargrad", scale=0.001)
    ]


@pytest.mark.parametrize(
    "words",
    [["of=integrated_gradients", "of.n_steps=20"], ["of.n_steps=20", "of=integrated_gradients"]],
)
def test_the_parameters_of_an_inner_method_come_in_any_order(words: list[str]) -> None:
    expected = Method("smooth_grad", of=Method("integrated_gradients", n_steps=20))
    assert parse_methods(["smooth_grad"], words) == [expected]


def test_methods_can_be_nested_deeply() -> None:
    words = ["of=smooth_grad", "of.of=saliency", "of.of.abs=false"]
    expected = Method("outer", of=Method("smooth_grad", of=Method("saliency", abs=False)))
    assert parse_methods(["outer"], words) == [expected]


@pytest.mark.parametrize("word", ["n_steps", "=5", "n=", "of.n_steps=5"])
def test_wrong_parameters(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_methods(["m"], [word])


def test_several_methods_take_no_parameters() -> None:
    assert parse_methods(["a", "b"], []) == ["a", "b"]
    assert parse_methods([], []) is None
    with pytest.raises(typer.BadParameter, match="one --method"):
        parse_methods(["a", "b"], ["n=1"])


def test_parameters_alone_are_those_of_the_presets_only_method() -> None:
    preset = Spec(methods=[Method("lime", n_samples=200, alpha=0.1)])
    assert parse_methods([], ["n_samples=400"], preset) == [
        Method("lime", n_samples=400, alpha=0.1)
    ]
    for other in (None, Spec(), Spec(methods=[Method("a"), Method("b")])):
        with pytest.raises(typer.BadParameter, match="one --method"):
            parse_methods([], ["n=1"], other)


def test_arrays_of_several_inputs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, a=np.zeros(2), b=np.ones(3))
    inputs = InputOptions(npy=path).read(cells)
    assert isinstance(inputs, dict)
    assert sorted(inputs) == ["a", "b"]


def test_a_table_without_a_header_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1,2,3\n4,5,6\n")
    rows = InputOptions(csv=path).read(cells)
    np.testing.assert_array_equal(np.asarray(rows), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    "table",
    ["radius,texture\n1,2\n", "radius,texture,area\n1,2\n", "radius,texture,area\n", ""],
    ids=["column", "short", "no rows", "empty"],
)
def test_wrong_tables(table: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(table)
    with pytest.raises(typer.BadParameter):
        InputOptions(csv=path).read(cells)
