"""A repository of models for servers with workers: each does one thing."""

from pathlib import Path
from types import MappingProxyType

import safetensors.torch
import torch

CODE = """
import os, time
import torch
from torch import nn

KEPT = []

class Net(nn.Module):
    def __init__(self, kind="plain"):
        super().__init__()
        self.layer, self.kind = nn.Linear(8, 3), kind

    def forward(self, x):
        if self.kind == "slow":
            time.sleep(0.001 * len(x))
        if self.kind == "leaky" and x[0, 0] == 1000:
            KEPT.append(bytearray(b"x" * (32 << 20)))
        if self.kind == "lost" and x[0, 0] == 2000:
            # As PyTorch words it on a device; no device is needed for what follows.
            raise RuntimeError("CUDA error: device-side assert triggered")
        if self.kind == "noted":
            with open(os.environ["NOTES"], "a") as file:
                file.write(f"{os.getpid()} {float(x[0, 0])}\\n")
        return self.layer(torch.tanh(x))

def net(kind="plain"):
    return Net(kind).eval()
"""

DECLARATION = """
factory = "worker_models_code:net"
[arguments]
kind = "{kind}"
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 8]
[[outputs]]
name = "y"
shape = [-1, 3]
kind = "logits"
[placement]
{placement}
"""

PLACEMENTS = MappingProxyType(
    {
        "plain": "",
        "slow": "",
        "leaky": "replicas = 1",
        "noted": "",
        "lost": "",
        "single": "replicas = 1",
        "other": "replicas = 1",
        "huge": f"memory_bytes = {1 << 50}",
        "graphic": 'devices = ["cuda"]',
    }
)
"""The table `[placement]` of each model; its name is what it does."""


def write(folder: Path) -> None:
    """Writes the repository."""
    torch.manual_seed(0)
    state = {"layer.weight": torch.randn(3, 8), "layer.bias": torch.randn(3)}
    for name, placement in PLACEMENTS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (folder / name / "code").mkdir()
        (folder / name / "code" / "worker_models_code.py").write_text(CODE)
        (folder / name / "model.toml").write_text(
            DECLARATION.format(kind=name, placement=placement)
        )
        safetensors.torch.save_file(state, version / "weights.safetensors")
