"""Models whose answers show their version: y = factor * x; their folders change while served."""

import shutil
from pathlib import Path

import safetensors.torch
import torch

CODE = """
import os
import time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hold, row_seconds):
        super().__init__()
        self.scale = nn.Linear(2, 2, bias=False)
        self.hold, self.row_seconds = hold, row_seconds
        # Only a collection of garbage frees what refers to itself.
        self.itself = [self]

    def forward(self, x):
        # The time of a batch is that of its computation.
        end = time.thread_time() + self.row_seconds * len(x)
        while time.thread_time() < end:
            pass
        while x[0, 1] == 1000 and os.path.exists(self.hold):
            time.sleep(0.01)
        return self.scale(x)

def net(hold="", loading=0.0, row_seconds=0.0):
    time.sleep(loading)
    return Net(hold, row_seconds).eval()
"""

SLOW = 1000.0
"""The second number of a row that waits while the file `hold` of the model exists."""

DECLARATION = """
description = "{description}"
factory = "net:net"
{top}
[arguments]
hold = "{hold}"
loading = {loading}
row_seconds = {row_seconds}
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
    hold: Path | str = "",
    loading: float = 0.0,
    row_seconds: float = 0.0,
    top: str = "",
    aliases: str = "",
    description: str = "",
) -> Path:
    """Writes the folder of a model, without a version; returns it."""
    folder = repository / name
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "net.py").write_text(CODE)
    text = DECLARATION.format(
        hold=hold,
        loading=loading,
        row_seconds=row_seconds,
        top=top,
        aliases=aliases,
        description=description,
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
    folder = declare(repository, name, **declared)  # type: ignore[arg-type] # loading
    add_version(folder, "1", factor)
    return folder


def spoil(folder: Path, version: str) -> None:
    """Has a version's file be of no use."""
    (folder / version).mkdir(exist_ok=True)
    (folder / version / "weights.safetensors").write_bytes(b"none")


def drop(folder: Path, version: str) -> None:
    """Removes a version."""
    shutil.rmtree(folder / version)
