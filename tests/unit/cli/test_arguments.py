"""The words of a command line."""

from pathlib import Path

import numpy as np
import pytest
import typer

from adcaptum.client import Blur, Layer, Method, ModelInfo, Neuron, Samples, TopK
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.client.target import Target
from adcaptum.service.cli.arguments import (
    parse_baseline,
    parse_layer,
    parse_layer_baselines,
    parse_method,
    parse_neuron,
    parse_target,
)
from adcaptum.service.cli.inputs import InputOptions
from adcaptum.service.cli.plain import plain
from tests.unit.client import canned


def cells() -> ModelInfo:
    return decode_model(canned.model())


def nobody() -> ModelInfo:
    raise AssertionError("nobody needs to be asked")


@pytest.mark.parametrize(
    ("word", "target"),
    [
        (None, None),
        ("3", [3]),
        ("1,0", [1, 0]),
        ("top:5", TopK(5)),
        ("all", "all"),
        ("tabby cat", "tabby cat"),
    ],
)
def test_targets(word: str | None, target: Target) -> None:
    assert parse_target(word) == target


@pytest.mark.parametrize(
    ("word", "baseline"),
    [
        ("0.5", 0.5),
        ("zero", "zero"),
        ("mean", "mean"),
        ("blur:2.5", Blur(2.5)),
        ("samples:20", Samples(20)),
        (None, None),
    ],
)
def test_baselines(word: str | None, baseline: object) -> None:
    assert parse_baseline(word) == baseline


def test_a_baseline_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "base.npy"
    np.save(path, np.ones((1, 3)))
    np.testing.assert_array_equal(np.asarray(parse_baseline(str(path))), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("word", "neuron"),
    [
        ("hidden:5", Neuron(Layer("hidden"), (5,))),
        ("blocks.1@input:3,0,2", Neuron(Layer("blocks.1", input=True), (3, 0, 2))),
        ("features:0..4,1", Neuron(Layer("features"), (slice(0, 4), 1))),
        (None, None),
    ],
)
def test_neurons(word: str | None, neuron: Neuron | None) -> None:
    assert parse_neuron(word) == neuron


@pytest.mark.parametrize("word", ["hidden", "hidden:", "hidden:x", "hidden:1..", "hidden:1,,2"])
def test_wrong_neurons(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_neuron(word)


def test_layers() -> None:
    assert parse_layer("hidden") == Layer("hidden")
    assert parse_layer("hidden@input") == Layer("hidden", input=True)


def test_baselines_at_layers(tmp_path: Path) -> None:
    path = tmp_path / "base.npy"
    np.save(path, np.ones((1, 3)))
    number, read = parse_layer_baselines(["0.5", str(path)]) or []
    assert number == 0.5
    np.testing.assert_array_equal(np.asarray(read), np.ones((1, 3)))
    assert parse_layer_baselines([]) is None


@pytest.mark.parametrize("word", ["mean", "blur:2", "nowhere.npy"])
def test_wrong_baselines_at_layers(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_layer_baselines([word])


@pytest.mark.parametrize("word", ["blur:x", "samples:1.5", "nowhere.npy"])
def test_wrong_baselines(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_baseline(word)


def test_parameters_get_the_type_that_they_look_like() -> None:
    words = ["n=5", "x=0.5", "flag=true", "window=3,3", "kind=vargrad", "scale=1e-3"]
    assert parse_method("m", words) == Method(
        "m", n=5, x=0.5, flag=True, window=[3, 3], kind="vargrad", scale=0.001
    )


@pytest.mark.parametrize(
    "words",
    [["of=integrated_gradients", "of.n_steps=20"], ["of.n_steps=20", "of=integrated_gradients"]],
)
def test_the_parameters_of_an_inner_method_come_in_any_order(words: list[str]) -> None:
    expected = Method("smooth_grad", of=Method("integrated_gradients", n_steps=20))
    assert parse_method("smooth_grad", words) == expected


def test_methods_can_be_nested_deeply() -> None:
    words = ["of=smooth_grad", "of.of=saliency", "of.of.abs=false"]
    expected = Method("outer", of=Method("smooth_grad", of=Method("saliency", abs=False)))
    assert parse_method("outer", words) == expected


@pytest.mark.parametrize("word", ["n_steps", "=5", "n=", "of.n_steps=5"])
def test_wrong_parameters(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_method("m", [word])


def test_arrays_of_several_inputs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, a=np.zeros(2), b=np.ones(3))
    inputs = InputOptions([], [], [], None, path).read(nobody)
    assert isinstance(inputs, dict)
    assert sorted(inputs) == ["a", "b"]


def test_a_table_without_a_header_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1,2,3\n4,5,6\n")
    rows = InputOptions([], [], [], path, None).read(nobody)
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
        InputOptions([], [], [], path, None).read(cells)


def test_numbers_that_are_not_finite_are_null_in_json() -> None:
    assert plain({"x": np.array([1.0, np.nan, np.inf])}) == {"x": [1.0, None, None]}


def test_bytes_are_text_in_json() -> None:
    assert plain(np.array([b"a", "\xe9".encode()], dtype=object)) == ["a", "\xe9"]


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        plain(object())
