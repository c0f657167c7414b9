"""The commands that make, try and pack models, as a user types them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from adcaptum.engine import METHODS
from adcaptum.service.cli.app import app
from tests.unit.cli.conftest import Output

Type = Callable[..., Output]
CODE = """
from torch import nn

def build(hidden: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 3))
"""


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Runs a command in a folder with a factory and an example."""
    monkeypatch.chdir(tmp_path)
    Path("flower_net.py").write_text(CODE)
    np.save("rows.npy", np.random.default_rng(0).normal(size=(3, 6)))

    def invoke(*words: str) -> Output:
        result = CliRunner(env={"COLUMNS": "160"}).invoke(app, words)
        return Output(result.exit_code, result.stdout, result.stderr)

    return invoke


def init(type_in: Type, *more: str) -> Output:
    words = ("init", "flowers", "--factory", "flower_net:build", "--example", "rows.npy")
    return type_in(*words, *more)


def test_a_model_is_made_checked_packed_and_unpacked(type_in: Type) -> None:
    made = init(type_in, "--labels", "a,b,c", "--argument", "hidden=5")
    assert made.code == 0, made.err
    assert "models/flowers: made" in made.out
    assert "code/flower_net.py" in made.out
    checked = type_in("check", "models/flowers")
    assert checked.code == 0, checked.err
    rows = {line.split()[0]: line.split()[1] for line in checked.out.splitlines()[1:-1]}
    assert set(rows) == {"Predict", *METHODS}
    # A model of a table has no maps for ScoreCAM to weigh.
    assert [name for name, verdict in rows.items() if verdict != "ok"] == ["score_cam"]
    packed = type_in("package", "models/flowers")
    assert re.fullmatch(r"[0-9a-f]{64}  flowers\.tar\n", packed.out)
    assert type_in("unpack", "flowers.tar", "--into", "elsewhere").code == 0
    again = type_in("check", "elsewhere/flowers", "--json")
    assert again.code == 0
    result = json.loads(again.out)
    assert result["passed"]
    (predict, *methods) = result["outcomes"]
    assert (predict["name"], predict["verdict"], predict["rows"]) == ("Predict", "ok", 1)
    assert [each["name"] for each in methods] == list(METHODS)
    (grouped,) = (each for each in methods if each["name"] == "score_cam")
    assert grouped["verdict"] == "no"
    assert "dimensions" in grouped["note"]


def test_check_of_some_methods(type_in: Type) -> None:
    init(type_in)
    words = ("check", "models/flowers", "--json", "--method", "lime", "--method")
    result = json.loads(type_in(*words, "saliency").out)
    assert [each["name"] for each in result["outcomes"]] == ["Predict", "lime", "saliency"]
    wrong = json.loads(type_in(*words, "salience").err)["error"]
    assert wrong["message"].startswith("there is no method 'salience'. Did you mean 'saliency'")


def test_check_says_why_a_model_does_not_load(type_in: Type) -> None:
    init(type_in)
    Path("models/flowers/1/weights.safetensors").write_bytes(b"broken")
    output = type_in("check", "models/flowers")
    assert output.code == 1
    assert "models/flowers: does not load: flowers/1/weights.safetensors:" in output.err
    result = type_in("check", "models/flowers", "--json")
    assert result.code == 1
    assert json.loads(result.out)["reason"].startswith("flowers/1/weights.safetensors:")


def test_check_of_what_is_no_model(type_in: Type) -> None:
    Path("models").mkdir()
    output = type_in("check", "models")
    assert output.code == 1
    assert output.err.startswith("error: ")
    assert "there is no model.toml in it" in output.err
    assert "there is no such folder" in type_in("check", "models/nowhere").err
    as_json = type_in("check", "models", "--json")
    assert json.loads(as_json.err)["error"]["kind"] == "AuthoringError"


def test_weights_may_be_safetensors_or_a_plain_checkpoint(type_in: Type) -> None:
    import flower_net  # type: ignore[import-not-found] # the fixture made it

    weights = flower_net.build().state_dict()
    safetensors.torch.save_file(weights, "weights.safetensors")
    torch.save({"state_dict": weights, "epoch": 3}, "weights.pt")
    for place, file in enumerate(("weights.safetensors", "weights.pt")):
        output = init(type_in, "--weights", file, "--into", f"models{place}")
        assert output.code == 0, output.err
        kept = safetensors.torch.load_file(f"models{place}/flowers/1/weights.safetensors")
        assert all(torch.equal(kept[name], weights[name]) for name in weights)


def test_a_checkpoint_that_holds_objects_is_refused(type_in: Type) -> None:
    torch.save({"model": Path()}, "weights.pt")
    output = init(type_in, "--weights", "weights.pt")
    assert output.code == 1
    assert output.err.startswith("error: weights.pt: Weights only load failed")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--argument", "hidden"), "'hidden' is not NAME=VALUE"),
        (("--example", "none.npy"), "error: none.npy: No such file or directory; must be a .npy"),
        (("--example", "flower_net.py"), "must be a .npy file, or .npz with an array per input"),
        (("--weights", "none.safetensors"), "none.safetensors: No such file or directory"),
    ],
)
def test_wrong_words_are_told(type_in: Type, words: tuple[str, ...], reason: str) -> None:
    output = init(type_in, *words)
    assert output.code != 0
    assert reason in " ".join(output.err.split())
    assert not Path("models").exists()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_exported_program_is_converted_with_its_own_example(type_in: Type) -> None:
    import flower_net

    batch = torch.export.Dim("batch")
    program = torch.export.export(
        flower_net.build().eval(), (torch.randn(3, 6),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, "flowers.pt2")
    converted = type_in("convert", "flowers.pt2", "--labels", "a,b,c")
    assert converted.code == 0, converted.err
    words = ("--method", "deep_lift", "--method", "activation", "--method", "lrp")
    result = json.loads(type_in("check", "models/flowers", "--json", *words).out)
    assert result["passed"]
    verdicts = {each["name"]: each["verdict"] for each in result["outcomes"]}
    assert verdicts["deep_lift"] == verdicts["activation"] == verdicts["lrp"] == "ok"


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_program_that_is_refused_is_named_as_it_was_typed(type_in: Type) -> None:
    import flower_net

    program = torch.export.export(flower_net.build().eval(), (torch.randn(3, 6),))
    torch.export.save(program, "fixed.pt2")
    output = type_in("convert", "fixed.pt2", "--name", "flowers")
    assert output.code == 1
    assert output.err.startswith("error: fixed.pt2: its input 'input' has the fixed shape [3, 6]")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_an_archive_is_converted_and_check_says_what_it_hides(type_in: Type) -> None:
    import flower_net

    torch.jit.save(torch.jit.script(flower_net.build().eval()), "flowers.pt")
    assert "keeps no example; give one with --example" in type_in("convert", "flowers.pt").err
    assert type_in("convert", "flowers.pt", "--example", "rows.npy").code == 0
    output = type_in("check", "models/flowers", "--method", "lrp")
    assert output.code == 0
    assert "It has no layers that can be explained." in output.out
    (line,) = (each for each in output.out.splitlines() if each.startswith("lrp"))
    assert "which a torchscript model hides" in line


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.pt2", "there is no such file or folder"),
        ("model.onnx", "export the PyTorch module with torch.export instead"),
        ("rows.npy", "is none of .pt2, .pt, .pth or a folder of a Hugging Face model"),
        (".", "there is no config.json in it"),
    ],
)
def test_what_cannot_be_converted_is_told(type_in: Type, name: str, reason: str) -> None:
    Path("model.onnx").write_bytes(b"")
    output = type_in("convert", name, "--name", "flowers")
    assert output.code == 1
    assert reason in output.err


def test_a_state_dict_is_not_taken_for_an_archive(type_in: Type) -> None:
    torch.save({"weight": torch.ones(2)}, "weights.pt")
    output = type_in("convert", "weights.pt")
    assert output.code == 1
    assert "A state dict needs its factory: adcaptum init NAME" in output.err
