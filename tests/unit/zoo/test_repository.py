"""The bundled models as built: what `model.toml` says holds for the network that it names."""

import importlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from adcaptum.zoo.registry import RECIPES

Find = Callable[[str], Path]


@pytest.fixture(params=RECIPES, ids=str)
def path(request: pytest.FixtureRequest, model_folder: Find) -> Path:
    return model_folder(request.param)


def configuration(path: Path) -> dict[str, Any]:
    return tomllib.loads((path / "model.toml").read_text("utf-8"))


def network(path: Path) -> nn.Module:
    model = configuration(path)
    module, factory = model["factory"].split(":")
    built: nn.Module = getattr(importlib.import_module(module), factory)(
        **model.get("arguments", {})
    )
    built.load_state_dict(safetensors.torch.load_file(path / "1" / "weights.safetensors"))
    return built


def examples(path: Path) -> tuple[Tensor, ...]:
    model = configuration(path)
    (declared,) = model["inputs"]
    if declared["kind"] != "text":
        return (safetensors.torch.load_file(path / model["examples"]["file"])[declared["name"]],)
    tokenizer = Tokenizer.from_file(str(path / declared["tokenizer"]))
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch(model["examples"]["texts"])
    return (
        torch.tensor([encoding.ids for encoding in encodings]),
        torch.tensor([encoding.attention_mask for encoding in encodings]),
    )


def labels(path: Path) -> list[str]:
    (output,) = configuration(path)["outputs"]
    if "labels" in output:
        return list(output["labels"])
    return (path / output["labels_file"]).read_text("utf-8").splitlines()


def test_the_examples_give_finite_logits_of_the_declared_shape(path: Path) -> None:
    (output,) = configuration(path)["outputs"]
    inputs = examples(path)
    logits = network(path)(*inputs)
    assert logits.shape == (len(inputs[0]), *output["shape"][1:])
    assert logits.isfinite().all()


def test_the_examples_have_the_declared_shape(path: Path) -> None:
    (declared,) = configuration(path)["inputs"]
    shape = examples(path)[0].shape
    assert all(want in {-1, got} for want, got in zip(declared["shape"], shape, strict=True))


def test_there_is_a_label_for_each_logit_and_none_twice(path: Path) -> None:
    (output,) = configuration(path)["outputs"]
    assert len(set(labels(path))) == output["shape"][1]


def test_each_layer_alias_names_a_module(path: Path) -> None:
    modules = dict(network(path).named_modules())
    assert set(configuration(path)["layers"].values()) <= set(modules)


def test_each_file_that_the_inputs_name_holds_rows_of_the_declared_shape(path: Path) -> None:
    (declared,) = configuration(path)["inputs"]
    sources = [
        (baseline["file"], baseline["key"])
        for baseline in declared["baselines"].values()
        if isinstance(baseline, dict) and "file" in baseline
    ]
    if "background" in declared:
        sources.append((declared["background"], declared["name"]))
    for file, key in sources:
        rows = safetensors.torch.load_file(path / file)[key]
        assert list(rows.shape[1:]) == declared["shape"][1:]


def test_the_default_baseline_is_among_the_named(path: Path) -> None:
    (declared,) = configuration(path)["inputs"]
    assert declared["default_baseline"] in declared["baselines"]


@pytest.mark.parametrize(
    ("name", "least"), [("photos", 0.6), ("reviews", 0.75), ("cells", 0.94), ("digits", 0.97)]
)
def test_the_model_was_measured_and_is_good_enough(
    name: str, least: float, model_folder: Find
) -> None:
    assert least <= configuration(model_folder(name))["accuracy"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells", "digits"])
def test_building_again_gives_the_same_bytes(name: str, model_folder: Find, tmp_path: Path) -> None:
    again = RECIPES[name](lambda done: None).write(tmp_path)
    known = model_folder(name)
    files = sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(known) for file in known.rglob("*") if file.is_file())
    assert all((again / file).read_bytes() == (known / file).read_bytes() for file in files)


def test_cells_have_a_name_and_a_unit_for_each_feature(model_folder: Find) -> None:
    (declared,) = configuration(model_folder("cells"))["inputs"]
    assert len(declared["features"]) == len(declared["units"]) == 30
    units = dict(zip(declared["features"], declared["units"], strict=True))
    assert units["worst area"] == "length²"
    assert units["mean smoothness"] == ""


def test_the_tokenizer_neither_pads_nor_truncates(model_folder: Find) -> None:
    tokenizer = Tokenizer.from_file(str(model_folder("reviews") / "tokenizer.json"))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_the_reviews_embedding_takes_token_ids(model_folder: Find) -> None:
    path = model_folder("reviews")
    (declared,) = configuration(path)["inputs"]
    assert isinstance(network(path).get_submodule(declared["embedding"]), nn.Embedding)


def test_the_example_reviews_are_read_as_meant(model_folder: Find) -> None:
    path = model_folder("reviews")
    names = labels(path)
    guesses = [names[index] for index in network(path)(*examples(path)).argmax(dim=1)]
    assert guesses[:2] == ["positive", "negative"]
