"""The device under check, networks with fixed weights, and how far results may be off."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import torch
from torch import Tensor, nn

from tests.benchmarks.models import build as small_resnet

DEVICE: Final = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU: Final = DEVICE.type == "cuda"


def tell(**record: Any) -> None:
    """Prints a record for the runner."""
    print(json.dumps(record, default=str), flush=True)


def synchronise() -> None:
    """Waits for the device."""
    if ON_GPU:
        torch.cuda.synchronize()


def timed(call: Callable[[], object], *, seconds: float = 0.3, most: int = 200) -> float:
    """Returns the median seconds of a call, the device's work included."""
    call()
    synchronise()
    taken: list[float] = []
    until = perf_counter() + seconds
    while len(taken) < 3 or (perf_counter() < until and len(taken) < most):
        begin = perf_counter()
        call()
        synchronise()
        taken.append(perf_counter() - begin)
    return sorted(taken)[len(taken) // 2]


def off(found: Tensor, truth: Tensor) -> float:
    """Returns how far a tensor is off: the norm of the difference over that of the truth."""
    found, truth = found.detach().double().cpu(), truth.detach().double().cpu()
    return float((found - truth).norm() / truth.norm().clamp_min(1e-30))


class Encoder(nn.Module):
    """A transformer over token ids, (rows, tokens), with an embedding of 1,000 words."""

    def __init__(self, width: int = 128, layers: int = 3, tokens: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1000, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classify = nn.Linear(width, 5)

    def forward(self, ids: Tensor) -> Tensor:
        """Maps ids to logits, (rows, 5)."""
        return self.classify(self.layers(self.embedding(ids) + self.position).mean(1))


def mlp() -> nn.Module:
    """Returns a network for tables, 30-128-128-2."""
    return nn.Sequential(
        nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)
    )


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Returns networks on the processor in float32, with the shape of a row."""
    torch.manual_seed(0)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "mlp": (mlp(), (30,)),
        "resnet": (small_resnet(), (3, 32, 32)),
        "encoder": (Encoder(), (64,)),
    }
    for network, _ in made.values():
        network.eval().requires_grad_(False)
    return made


def rows_of(shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    """Returns rows for a network: normal numbers, or ids for the encoder."""
    generator = torch.Generator().manual_seed(seed)
    if shape == (64,):
        return torch.randint(0, 1000, (count, *shape), generator=generator)
    return torch.randn(count, *shape, generator=generator)
