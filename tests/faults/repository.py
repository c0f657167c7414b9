"""A repository: `good` computes, `bad` does what the first number of a row says.

`late` and `late_bad` are the same, but wait before, so that the event loop leaves them to threads.
"""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import safetensors.torch
import torch

DEEDS = MappingProxyType(
    {
        "raise": 2000.0,
        "nan": 3000.0,
        "shape": 4000.0,
        "sleep": 5000.0,
        "exit": 6000.0,
        "segfault": 7000.0,
        "allocate": 8000.0,
    }
)

CODE = """
import ctypes, os, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, bad=False):
        super().__init__()
        self.first, self.last, self.bad = nn.Linear(8, 64), nn.Linear(64, 3), bad

    def forward(self, x):
        if self.bad and (x[:, 0] > 1000).any():
            deed = float(x[:, 0].max())
            if deed == 2000:
                raise ValueError("as told")
            if deed == 3000:
                return self.last(torch.relu(self.first(x))) * float("nan")
            if deed == 4000:
                return x
            if deed == 5000:
                time.sleep(3600)
            if deed == 6000:
                os._exit(7)
            if deed == 7000:
                ctypes.string_at(0)
            if deed == 8000:
                kept = []
                while True:
                    kept.append(bytearray(b"x" * (32 << 20)))
                    time.sleep(0.01)
        return self.last(torch.relu(self.first(x)))

def good():
    return Net().eval()

def bad():
    return Net(bad=True).eval()

class Late(Net):
    def forward(self, x):
        time.sleep(0.06)
        return super().forward(x)

def late():
    return Late().eval()

def late_bad():
    return Late(bad=True).eval()
"""

DECLARATION = """
factory = "faulty_models:{factory}"
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 8]
[[outputs]]
name = "y"
shape = [-1, 3]
kind = "logits"
"""


def write(folder: Path, models: Sequence[str]) -> None:
    """Writes the repository with some of the models."""
    torch.manual_seed(0)
    state = {
        "first.weight": torch.randn(64, 8),
        "first.bias": torch.randn(64),
        "last.weight": torch.randn(3, 64),
        "last.bias": torch.randn(3),
    }
    for name in models:
        version = folder / name / "1"
        version.mkdir(parents=True)
        (folder / name / "code").mkdir()
        (folder / name / "code" / "faulty_models.py").write_text(CODE)
        (folder / name / "model.toml").write_text(DECLARATION.format(factory=name))
        safetensors.torch.save_file(state, version / "weights.safetensors")
