"""Repositories of models that misbehave when they are told to."""

from pathlib import Path

import safetensors.torch
import torch

CODE = '''
import os, sys, threading, time
from pathlib import Path
import torch
from torch import nn

TOLD = Path(os.environ["TOLD"])

class Hostile(nn.Module):
    """Does what the file of its name says, for rows whose first element is above 1000."""
    def __init__(self, name, cost=0):
        super().__init__()
        self.linear = nn.Linear(30, 2)
        self.name, self.cost = name, cost
    def forward(self, x):
        if self.cost:
            side = torch.ones(len(x), self.cost, self.cost)
            x = x + 0 * (side @ side[0])[:, 0, :1]
        if (x[:, 0] > 1000).any():
            deed = (TOLD / self.name).read_text()
            (TOLD / (self.name + ".begun")).write_text("")
            if deed == "sleep":
                time.sleep(600)
            if deed == "wait":
                while not (TOLD / (self.name + ".go")).exists():
                    time.sleep(0.01)
            if deed == "nap":
                time.sleep(0.2)
            if deed == "exit":
                sys.exit(3)
            if deed == "interrupt":
                raise KeyboardInterrupt
        return self.linear(x)
    def extra_repr(self):
        return self.name

def light(name):
    return Hostile(name).eval()

def heavy(name):
    return Hostile(name, 200).eval()

def sleeping():
    (TOLD / "sleeping.begun").write_text("")
    time.sleep(600)
'''

DECLARATION = """
factory = "hostile_models:{factory}"
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 30]
[[outputs]]
name = "y"
shape = [-1, 2]
kind = "logits"
"""


def folder(path: Path, **factories: str) -> dict[str, str]:
    """Writes a repository `models` with a model for each factory.

    Returns:
        The environment that its server needs.
    """
    for name in ("models", "told"):
        (path / name).mkdir()
    for name, factory in factories.items():
        version = path / "models" / name / "1"
        version.mkdir(parents=True)
        (version.parent / "code").mkdir()
        (version.parent / "code" / "hostile_models.py").write_text(CODE)
        text = DECLARATION.format(factory=factory)
        if factory != "sleeping":
            text += f'[arguments]\nname = "{name}"\n'
        (version.parent / "model.toml").write_text(text)
        state = {
            "linear.weight": torch.linspace(-1, 1, 60).view(2, 30),
            "linear.bias": torch.ones(2),
        }
        safetensors.torch.save_file(state, version / "weights.safetensors")
    return {"TOLD": str(path / "told")}


def tell(path: Path, name: str, deed: str) -> None:
    """Says what a model does from now on, with rows whose first element is above 1000."""
    (path / "told" / name).write_text(deed)
