"""What may stand in a model.toml, and what is said where it may not."""

from pathlib import Path

import pytest

from adcaptum.service.models.declaration import (
    DEFAULT_PRESET,
    DeclarationError,
    NumberBaseline,
    Runtime,
)
from adcaptum.service.models.repository import declaration_file

GOOD = """
description = "A table."
factory = "somewhere:build"
[aliases]
stable = "1"
[[inputs]]
name = "x"
kind = "tabular"
datatype = "FP32"
shape = [-1, 3]
features = ["a", "b", "c"]
default_baseline = "ones"
[inputs.baselines]
ones = 1
[[outputs]]
name = "y"
shape = [-1, 2]
kind = "logits"
labels = ["no", "yes"]
[defaults]
methods = [{ name = "saliency", params = { abs = false } }]
[limits]
max_rows = 500
"""


def write(folder: Path, text: str) -> Path:
    model = folder / "table"
    model.mkdir()
    (model / "model.toml").write_text(text)
    return model


def test_a_declaration_is_read(tmp_path: Path) -> None:
    read = declaration_file.read(write(tmp_path, GOOD))
    assert (read.name, read.max_rows) == ("table", 500)
    assert read.inputs[0].shape == (-1, 3)
    assert read.outputs[0].labels == ("no", "yes")
    (method,) = read.presets[DEFAULT_PRESET].spec.methods
    assert method.name == "saliency"
    assert {name: value.bool_value for name, value in method.params.items()} == {"abs": False}


def test_how_a_model_may_be_arranged_is_read(tmp_path: Path) -> None:
    asked = """[runtime]
precision = "bfloat16"
memory_format = "channels last"
fold_batch_norm = false
"""
    read = declaration_file.read(write(tmp_path, GOOD + asked))
    assert read.runtime == Runtime("bfloat16", "channels last", fold_batch_norm=False)


def test_an_arrangement_is_measured_and_no_precision_changed_by_default(tmp_path: Path) -> None:
    read = declaration_file.read(write(tmp_path, GOOD))
    assert read.runtime == Runtime("as loaded", "auto", fold_batch_norm=True)


def test_the_values_of_a_feature_may_have_names(tmp_path: Path) -> None:
    text = GOOD.replace("[inputs.baselines]", "categories.b = ['no', 'yes']\n[inputs.baselines]")
    (read,) = declaration_file.read(write(tmp_path, text)).inputs
    assert read.categories == {"b": ("no", "yes")}


def test_zero_is_always_a_baseline(tmp_path: Path) -> None:
    read = declaration_file.read(write(tmp_path, GOOD))
    assert read.inputs[0].baselines == {"zero": NumberBaseline(0), "ones": NumberBaseline(1)}


@pytest.mark.parametrize(
    ("value", "name", "number"), [("0.0", "zero", 0.0), ("0", "zero", 0.0), ("0.5", "0.5", 0.5)]
)
def test_a_number_is_a_default_baseline(
    value: str, name: str, number: float, tmp_path: Path
) -> None:
    (read,) = declaration_file.read(write(tmp_path, GOOD.replace('"ones"', value))).inputs
    assert read.default_baseline == name
    assert read.baselines[name] == NumberBaseline(number)


PLACES = {
    "ones": ("ones = 1", "ones = { file = PATH }"),
    "background": ('kind = "tabular"', 'kind = "tabular"\nbackground = PATH'),
    "labels_file": ("labels = ", "labels_file = PATH\n# "),
    "file": ("[limits]", "[examples]\nfile = PATH\n[limits]"),
}


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("way", ["absolute", "upwards", "link", "linked folder"])
def test_no_path_leaves_the_models_folder(key: str, way: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    old, new = PLACES[key]
    assert old in GOOD
    folder = write(tmp_path, GOOD)
    (folder / "link").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    path = {
        "absolute": str(secret),
        "upwards": "1/../../secret",
        "link": "link",
        "linked folder": "linked/secret",
    }[way]
    (folder / "model.toml").write_text(GOOD.replace(old, new.replace("PATH", f'"{path}"'), 1))
    with pytest.raises(DeclarationError, match="outside of the model's folder"):
        declaration_file.read(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("description", "descripton", "descripton: unknown field. Did you mean 'description'"),
        ('factory = "somewhere:build"', "", "factory: missing"),
        ("somewhere:build", "somewhere", "module:callable"),
        ('"tabular"', '"tabel"', "'tabel' is not one of 'image', 'text', 'tabular', 'tensor'"),
        ('"FP32"', '"FP33"', "'FP33' is not one of"),
        ("[-1, 3]", "[3, 3]", "shape: "),
        ("[-1, 3]", "[-1, 4]", "features: 3 of them"),
        ('"ones"\n', '"one"\n', "Did you mean 'ones'"),
        ("ones = 1", "ones = true", "True is not a number"),
        ("ones = 1", 'ones = { file = "../secret" }', "outside of the model's folder"),
        ("ones = 1", 'ones = { file = "none" }', "there is no file"),
        ("[-1, 2]", "[-1, 3]", "labels: 2 of them"),
        ("max_rows = 500", "max_rows = 0", "0 is not at least 1"),
        ("max_rows = 500", 'max_rows = "many"', "'many' is not a whole number"),
        ("max_rows = 500", "max_row = 500", "limits.max_row: unknown field"),
        (
            "[limits]",
            "[runtime]\nprecision = 'int8'\n[limits]",
            (
                "runtime.precision: 'int8' is not one of 'as loaded', 'float32', 'tf32', "
                "'bfloat16', 'float16'"
            ),
        ),
        (
            "[limits]",
            "[runtime]\nmemory_format = 'nhwc'\n[limits]",
            "runtime.memory_format: 'nhwc' is not one of 'auto', 'as loaded', 'channels last'",
        ),
        (
            "[limits]",
            "[runtime]\nfold_batch_norm = true\n[limits]",
            "runtime.fold_batch_norm: True is not 'auto' or false",
        ),
        ("[limits]", "[runtime]\ncompile = 'auto'\n[limits]", "runtime.compile: unknown field"),
        ("[[outputs]]", "[[outputs", "model.toml"),
        (
            '"ones"\n',
            "[1]\n",
            "default_baseline: [1] is not the name of a baseline, such as 'zero', or a",
        ),
        (
            "features =",
            "color =",
            (
                "There are 'background', 'baselines', 'categories', 'datatype', "
                "'default_baseline', 'embedding', 'features', 'kind', 'max_tokens', 'name', "
                "'pad_token', 'resize', 'shape', 'tokenizer', 'units'"
            ),
        ),
        ("features =", "max_tokens = 3\nfeatures =", "max_tokens: only a text input has it"),
        (
            "[inputs.baselines]",
            "[inputs.categories]\nbb = ['x']\n[inputs.baselines]",
            "inputs[0].categories.bb: there is no such feature. Did you mean 'b'?",
        ),
        (
            "[inputs.baselines]",
            "[inputs.categories]\nb = []\n[inputs.baselines]",
            "inputs[0].categories.b: empty; must be the names of the values 0, 1, …",
        ),
        (
            "[inputs.baselines]",
            "[inputs.categories]\nb = [1]\n[inputs.baselines]",
            "inputs[0].categories.b: 1 in it: must be a list of texts",
        ),
    ],
)
def test_an_error_names_the_file_the_field_and_what_is_allowed(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    folder = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(DeclarationError) as caught:
        declaration_file.read(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith("table/model.toml: ")
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_without_a_declaration_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"model\.toml"):
        declaration_file.read(tmp_path)
