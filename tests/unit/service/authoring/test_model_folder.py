import stat
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import torch

from adcaptum.service.authoring.model_folder import ModelFolder


@pytest.fixture
def folder() -> ModelFolder:
    return ModelFolder(
        name="tiny",
        configuration={"description": "µ", "inputs": [{"name": "x", "shape": [-1, 2]}]},
        weights={"weight": torch.ones(3, 2).t()},
        measured="nothing",
        tensors={"examples.safetensors": {"x": torch.zeros(1, 2)}},
        texts={"labels.txt": "a\nb\n"},
    )


def test_the_configuration_reads_back(folder: ModelFolder, tmp_path: Path) -> None:
    path = folder.write(tmp_path)
    assert tomllib.loads((path / "model.toml").read_text("utf-8")) == folder.configuration


def test_the_weights_are_in_the_version_folder(folder: ModelFolder, tmp_path: Path) -> None:
    path = folder.write(tmp_path) / "1" / "weights.safetensors"
    assert torch.equal(safetensors.torch.load_file(path)["weight"], torch.ones(2, 3))


def test_other_files_stand_beside_the_configuration(folder: ModelFolder, tmp_path: Path) -> None:
    path = folder.write(tmp_path)
    names = {file.name for file in path.iterdir()}
    assert names == {"model.toml", "1", "examples.safetensors", "labels.txt"}


def test_the_files_can_be_read_by_another_user(folder: ModelFolder, tmp_path: Path) -> None:
    path = folder.write(tmp_path)
    assert all(file.stat().st_mode & stat.S_IROTH for file in path.rglob("*"))


def test_writing_replaces_what_was_there(folder: ModelFolder, tmp_path: Path) -> None:
    stale = tmp_path / "tiny" / "stale.txt"
    stale.parent.mkdir()
    stale.touch()
    folder.write(tmp_path)
    assert not stale.exists()


def test_writing_leaves_nothing_but_the_folder(folder: ModelFolder, tmp_path: Path) -> None:
    folder.write(tmp_path)
    folder.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_weight_count_includes_every_tensor(folder: ModelFolder) -> None:
    assert folder.weight_count == 6
