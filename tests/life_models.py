"""Models whose answers show their version: y = factor * x; their folders change while served."""

import shutil
from pathlib import Path

import safetensors.torch
import torch

CODE = """
import time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.scale, self.seconds = nn.Linear(2, 2, bias=False), seconds
        # Only a collection of garbage frees what refers to itself.
        self.itself = [self]

    def forward(self, x):
        if x[0, 1] == 1000:
            time.sleep(self.seconds)
        return self.scale(x)

def net(seconds=0.0, loading=0.0):
    time.sleep(loading)
    return Net(seconds).eval()
"""

SLOW = 1000.0
"""The second number of a row that takes the `seconds` of the model."""

DECLARATION = """
description = "{description}"
factory = "net:net"
{top}
[arguments]
seconds = {seconds}
loading = {loading}
[aliases]
{aliases}
[[inputs]]
name = "x"
shape = [-1, 2]
[[outputs]]
name = "y"
shape = [-1, 2]
"""


def declare(
    repository: Path,
    name: str = "scale",
    *,
    seconds: float = 0.0,
    loading: float = 0.0,
    top: str = "",
    aliases: str = "",
    description: str = "",
) -> Path:
    """Writes the folder of a model, without a version; returns it."""
    folder = repository / name
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "net.py").write_text(CODE)
    text = DECLARATION.format(
        seconds=seconds, loading=loading, top=top, aliases=aliases, description=description
    )
    (folder / "model.toml").write_text(text)
    return folder


def add_version(folder: Path, version: str, factor: float) -> Path:
    """Writes a version, or writes it anew; returns its file."""
    file = folder / version / "weights.safetensors"
    file.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file({"scale.weight": torch.eye(2) * factor}, file)
    return file


def write(repository: Path, name: str = "scale", factor: float = 1.0, **declared: float) -> Path:
    """Writes a model with version 1; returns its folder."""
    folder = declare(repository, name, **declared)  # type: ignore[arg-type] # seconds
    add_version(folder, "1", factor)
    return folder


def spoil(folder: Path, version: str) -> None:
    """Has a version's file be of no use."""
    (folder / version).mkdir(exist_ok=True)
    (folder / version / "weights.safetensors").write_bytes(b"none")


def drop(folder: Path, version: str) -> None:
    """Removes a version."""
    shutil.rmtree(folder / version)
