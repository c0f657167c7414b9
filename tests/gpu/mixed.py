"""Many explanations of several models from two threads at once, against the processor's float64."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from random import Random
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, explain
from tests.gpu.registry import SAME, convolutions
from tests.gpu.subjects import DEVICE, ON_GPU, off, tell

CALLS: Final = 300 if ON_GPU else 24
NAMES: Final = ("saliency", "integrated_gradients", "deep_lift", "lrp", "kernel_shap", "occlusion")


def main() -> int:
    """Prints the worst distance, and whether a deterministic answer is always the same."""
    torch.manual_seed(3)
    smooth = nn.Sequential(
        nn.Linear(12, 32), nn.Softplus(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    )
    subjects: list[tuple[nn.Module, tuple[int, ...]]] = [
        (smooth.eval().requires_grad_(False), (12,)),
        (convolutions(), (2, 6, 6)),
    ]
    exact = [deepcopy(network).double() for network, _ in subjects]
    moved = [network.to(DEVICE) for network, _ in subjects]
    chance = Random(0)
    calls = [
        (chance.randrange(2), chance.choice(NAMES), chance.randint(1, 4), seed)
        for seed in range(CALLS)
    ]

    def ask(networks: list[nn.Module], device: torch.device, dtype: torch.dtype, i: int) -> Tensor:
        which, name, count, seed = calls[i]
        shape = subjects[which][1]
        rows = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
        mask = (torch.arange(rows[0].numel()) % 6).view(1, *shape)
        explicand = Explicand.of(
            rows.to(device, dtype),
            target=seed % 3,
            baselines=0.0,
            feature_mask=mask.to(device) if METHODS[name].traits.feature_masks else None,
            seed=seed,
        )
        return explain(networks[which], METHODS[name](), explicand).values[0]

    begin = perf_counter()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda i: ask(moved, DEVICE, torch.float32, i), range(CALLS)))
    seconds = perf_counter() - begin
    distances = [
        off(found[i], ask(exact, torch.device("cpu"), torch.float64, i)) for i in range(CALLS)
    ]
    explicand = Explicand.of(torch.ones(3, 12, device=DEVICE), target=1, baselines=0.0)
    method = METHODS["integrated_gradients"]()
    answers = [
        explain(moved[0], method, explicand, deterministic=True).values[0] for _ in range(20)
    ]
    same = all(torch.equal(answers[0], each) for each in answers)
    worst = max(distances)
    tell(
        calls=CALLS,
        seconds=round(seconds, 1),
        worst=worst,
        of=calls[distances.index(worst)],
        deterministic_same=same,
    )
    return not (worst <= SAME and same)


if __name__ == "__main__":
    sys.exit(main())
