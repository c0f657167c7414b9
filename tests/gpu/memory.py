"""Little memory: batches that do not fit are halved, and grow again."""

from __future__ import annotations

import sys

import torch

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from tests.benchmarks.models import build
from tests.gpu.subjects import DEVICE, ON_GPU, off, tell


def main() -> int:
    """Prints how an explanation in a hundredth of the memory differs from one in all of it."""
    if not ON_GPU:
        tell(skipped="there is no device whose memory could be bounded")
        return 0
    network = build().to(DEVICE).requires_grad_(False)
    rows = torch.randn(8, 3, 64, 64, device=DEVICE)
    method = IntegratedGradients(n_steps=400)
    explicand = Explicand.of(rows, target=0, baselines=0.0)
    plenty = explain(network, method, explicand).values[0]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.003)
    torch.cuda.reset_peak_memory_stats()
    little = explain(build().to(DEVICE).requires_grad_(False), method, explicand).values[0]
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.set_per_process_memory_fraction(1.0)
    distance = off(little, plenty)
    tell(
        bytes_allowed=int(0.003 * torch.cuda.get_device_properties(0).total_memory),
        bytes_reserved=peak,
        off=distance,
    )
    return not distance < 1e-4


if __name__ == "__main__":
    sys.exit(main())
