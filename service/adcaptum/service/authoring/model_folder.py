"""A model's folder in a repository: `model.toml`, a version's weights, and further files."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from adcaptum.service.authoring import toml_text

VERSION = "1"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The result of a recipe, before it is written.

    Attributes:
        name: The name of the model and its folder.
        configuration: The content of `model.toml`.
        weights: The state dict; empty if the version is of another file, one of `files`.
        measured: The held-out measurement in words.
        tensors: Tensors by file name, then by key.
        texts: Text files by path.
        files: Files to copy by path.
        comments: Comments in `model.toml`, by the key or table above which they stand.
    """

    name: str
    configuration: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    measured: str = ""
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def weight_count(self) -> int:
        """The number of numbers in the weights, running statistics included."""
        return sum(weight.numel() for weight in self.weights.values())

    def write(self, repository: Path) -> Path:
        """Writes the folder into the repository, replacing one of its name; returns its path.

        The folder is filled under a hidden name and renamed, so a server that reads the repository
        meanwhile sees the old one, the new one or none, never half of one.
        """
        repository.mkdir(parents=True, exist_ok=True)
        folder = repository / self.name
        with tempfile.TemporaryDirectory(dir=repository, prefix=".building-") as temporary:
            fresh = Path(temporary) / "fresh"
            self._fill(fresh)
            if folder.exists():
                folder.rename(Path(temporary) / "stale")
            shutil.move(fresh, folder)
        return folder

    def _fill(self, folder: Path) -> None:
        (folder / VERSION).mkdir(parents=True)
        if self.weights:
            _save(self.weights, folder / VERSION / "weights.safetensors")
        for name, tensors in self.tensors.items():
            _save(tensors, folder / name)
        for path, text in self.texts.items():
            _made(folder / path).write_text(text, encoding="utf-8")
        for path, source in self.files.items():
            shutil.copyfile(source, _made(folder / path))
        text = toml_text.dumps(self.configuration, self.comments)
        (folder / "model.toml").write_text(text, encoding="utf-8")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # save_file would leave the file readable by its owner alone.
    path.write_bytes(safetensors.torch.save({key: _own(each) for key, each in tensors.items()}))


def _own(tensor: Tensor) -> Tensor:
    """Returns a tensor that shares memory with no other: tied weights are stored twice."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
