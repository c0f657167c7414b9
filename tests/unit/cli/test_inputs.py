"""Inputs of a command line: of several kinds, from files and from standard input."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from adcaptum.client import ModelInfo, Superpixels
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.service.cli import tables
from adcaptum.service.cli.arguments import parse_baselines, parse_masks
from adcaptum.service.cli.inputs import InputOptions
from adcaptum.v1 import model_pb2
from tests.unit.cli.conftest import Run
from tests.unit.client import canned
from tests.unit.client.canned_server import CannedServicer


def flats() -> ModelInfo:
    """A model of an image, a table, ids and a text."""
    model = canned.model()
    (table,) = model.versions[0].inputs
    table.features[0].categories[:] = ["small", "large"]
    for name, kind, datatype, shape in (
        ("photo", model_pb2.INPUT_KIND_IMAGE, "FP32", [-1, 3, 4, 4]),
        ("ids", model_pb2.INPUT_KIND_TENSOR, "INT64", [-1, -1]),
        ("text", model_pb2.INPUT_KIND_TEXT, "INT64", [-1, -1]),
    ):
        added = model.versions[0].inputs.add()
        added.name, added.kind, added.datatype = name, kind, datatype
        added.shape[:] = shape
    return decode_model(model)


def read(**options: Any) -> Any:
    return InputOptions(**options).read(flats)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"\x89PNG")
    Path("rows.csv").write_text("area,radius,texture\n3,large,2\n")
    np.save("ids.npy", np.array([[7, 8]]))
    return tmp_path


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_inputs_of_several_kinds_find_their_places(files: Path) -> None:
    given = read(
        texts=["a flat"], images=[Path("a.png")], csv=Path("rows.csv"), named=["ids=1,2,3"]
    )
    assert (given["text"], given["photo"]) == (["a flat"], [b"\x89PNG"])
    np.testing.assert_array_equal(given["measurements"], [[1, 2, 3]])
    assert given["ids"].dtype == np.int64
    np.testing.assert_array_equal(given["ids"], [[1, 2, 3]])
    assert files.is_dir()


def test_a_named_input_takes_what_its_kind_takes(files: Path) -> None:
    assert files.is_dir()
    words = ["photo=a.png", "photo=a.png", "measurements=rows.csv", "measurements=0,1,2"]
    given = read(named=[*words, "ids=ids.npy", "ids=1,2", "text=one=two", "text=b"])
    assert given["photo"] == [b"\x89PNG"] * 2
    np.testing.assert_array_equal(given["measurements"], [[1, 2, 3], [0, 1, 2]])
    np.testing.assert_array_equal(given["ids"], [[7, 8], [1, 2]])
    assert given["text"] == ["one=two", "b"]


def test_inputs_come_from_a_json_file(files: Path) -> None:
    written = {
        "measurements": [[1, 2, 3]],
        "photo": base64.b64encode(b"\x89PNG").decode(),
        "ids": [[1, 2]],
        "text": ["a"],
    }
    (files / "inputs.json").write_text(json.dumps(written))
    given = read(inputs=Path("inputs.json"))
    assert given["photo"] == [b"\x89PNG"]
    assert (given["text"], given["ids"], given["measurements"]) == (["a"], [[1, 2]], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("options", "content", "expected"),
    [
        ({"images": [Path("-")]}, b"\x89PNG\x00", [b"\x89PNG\x00"]),
        ({"texts": ["-"]}, "größer\n".encode(), ["größer"]),
        ({"named": ["text=-"]}, b"a\nb\n", {"text": ["a\nb"]}),
        ({"inputs": Path("-")}, b'{"text": ["a"]}', {"text": ["a"]}),
    ],
)
def test_standard_input_has_images_texts_and_json(
    monkeypatch: pytest.MonkeyPatch, options: Any, content: bytes, expected: Any
) -> None:
    piped(monkeypatch, content)
    assert read(**options) == expected


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"csv": Path("-")}, b"texture,area,radius\n2,3,1\n"),
        ({"values": ["-"]}, b"1,2,3\n\n"),
        ({"named": ["measurements=-"]}, b"small,2,3\n"),
    ],
)
def test_standard_input_has_tables(
    monkeypatch: pytest.MonkeyPatch, options: Any, content: bytes
) -> None:
    piped(monkeypatch, content)
    given = InputOptions(**options).read(one_table)
    rows = given["measurements"] if isinstance(given, dict) else given
    assert np.asarray(rows)[0].tolist() in ([1, 2, 3], [0, 2, 3])


def one_table() -> ModelInfo:
    model = canned.model()
    model.versions[0].inputs[0].features[0].categories[:] = ["small", "large"]
    return decode_model(model)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "give --text, --image, --values"),
        ({"named": ["ids"]}, "'ids' is not NAME=VALUE"),
        ({"named": ["size=1"]}, "the model has no input 'size'; it has 'measurements', 'photo'"),
        ({"named": ["ids=1"], "inputs": Path("x")}, "it has all inputs"),
        ({"texts": ["-"], "images": [Path("-")]}, "standard input is --text's already"),
        ({"texts": ["a"], "values": ["1,2,3"]}, "it may be of 'measurements', 'ids'; name it"),
        ({"texts": ["a"], "named": ["text=b"]}, "no input left for it of 'measurements', 'photo'"),
        ({"named": ["ids=1,2", "text=a", "text=b"]}, "different numbers of examples: ids: 1, "),
        ({"named": ["ids=1,2", "ids=1,2,3"]}, r"shapes \[1, 2\] and \[1, 3\] do not fit together"),
        ({"named": ["ids=1,2.5"]}, "row 1, column 2: '2.5' is not a whole number; input 'ids'"),
        ({"named": ["ids=1,"]}, "row 1, column 2: is empty"),
        (
            {"named": ["measurements=big,2,3"]},
            "row 1, column 'radius': 'big' is not a number; must be a number or one of 'small'",
        ),
        ({"named": ["measurements=1,2"]}, "row 1: 2 numbers; input 'measurements' takes 3"),
        ({"named": ["photo=none.png"]}, "none.png: No such file"),
        ({"inputs": Path("bad.json")}, r"bad.json: no JSON: Expecting ',' delimiter: line 1"),
        ({"npy": Path("wrong.csv")}, "wrong.csv: no array of numbers as `numpy.save` writes"),
        ({"npy": Path("none.npy")}, "none.npy: No such file"),
        ({"inputs": Path("photo.json")}, "photo.json: photo: an image must be a PNG or JPEG file"),
        ({"inputs": Path("number.json")}, "number.json: ids: 3; must be a list of examples"),
        ({"named": ["measurements=wrong.csv"]}, "wrong.csv: line 3, column 'texture': 'x' is not"),
        ({"named": ["measurements=short.csv"]}, "short.csv: line 2: 2 cells; the header has 3"),
        ({"named": ["measurements=latin.csv"]}, "latin.csv: must be in UTF-8: 'utf-8' codec"),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_place(
    files: Path, monkeypatch: pytest.MonkeyPatch, options: Any, told: str
) -> None:
    piped(monkeypatch, b"a")
    (files / "bad.json").write_text("[1 2]")
    (files / "photo.json").write_text('{"photo": ["no base64"]}')
    (files / "number.json").write_text('{"ids": 3}')
    (files / "wrong.csv").write_text("radius,texture,area\n1,2,3\n4,x,6\n")
    (files / "short.csv").write_text("radius,texture,area\n1,2\n")
    (files / "latin.csv").write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(typer.BadParameter, match=told):
        read(**options)


def test_parquet_files_are_tables(files: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"texture": [2], "area": [3], "radius": [1]}), "rows.parquet")
    table = tables.parquet_table((files / "rows.parquet").read_bytes(), "rows.parquet", "--parquet")
    assert table.column_names == ["texture", "area", "radius"]
    with pytest.raises(typer.BadParameter, match=r"rows\.csv: "):
        tables.parquet_table((files / "rows.csv").read_bytes(), "rows.csv", "--parquet")


def test_parquet_needs_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install 'adcaptum\[parquet\]'"):
        tables.parquet_table(b"", "rows.parquet", "--parquet")


def test_baselines_and_masks_name_their_inputs(files: Path) -> None:
    assert parse_baselines([]) is None
    assert parse_baselines(["0"]) == 0
    assert parse_baselines(["photo=0.5", "measurements=mean"]) == {
        "photo": 0.5,
        "measurements": "mean",
    }
    masks: Any = parse_masks(["photo=superpixels:9", f"ids={files / 'ids.npy'}"])
    assert masks["photo"] == Superpixels(9)
    np.testing.assert_array_equal(masks["ids"], [[7, 8]])
    assert parse_masks(["superpixels"]) == Superpixels()
    for words, told in (
        (["0", "1"], "'1' is another one; each must name its input: INPUT=1"),
        (["a=0", "a=1"], "'a=1' is another one"),
    ):
        with pytest.raises(typer.BadParameter, match=told):
            parse_baselines(words)
    with pytest.raises(typer.BadParameter, match="the number must be at least 1"):
        parse_masks(["superpixels:0"])


def test_commands_send_inputs_by_name(run: Run, servicer: CannedServicer) -> None:
    output = run("predict", "cells", "--input", "measurements=1,2,3")
    assert output.code == 0, output.err
    request: Any = servicer.asked[-1][1]
    assert [each.name for each in request.inputs] == ["measurements"]
    assert request.inputs[0].data == np.array([[1, 2, 3]], np.float32).tobytes()


def test_bars_of_ids_are_of_tokens(run: Run, servicer: CannedServicer) -> None:
    declared = servicer.described.versions[0].inputs[0]
    declared.kind, declared.datatype = model_pb2.INPUT_KIND_TENSOR, "INT64"
    declared.embedding_layer = "words"
    for words, reduction in (([], 2), (["--channel-reduction", "none"], 1)):
        assert run("explain", "cells", "--values", "1,2,3", *words).code == 0
        request: Any = servicer.asked[-1][1]
        assert request.inputs[0].datatype == "INT64"
        assert request.spec.output.channel_reduction == reduction
