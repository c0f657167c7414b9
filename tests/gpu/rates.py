"""Rows per second by batch size, launch and device time, and the rate of learnt sizes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Method, Site, explain
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from tests.gpu.subjects import DEVICE, ON_GPU, rows_of, synchronise, tell, timed
from tests.gpu.usual import EMBEDDINGS, site_of, usual_networks

SIZES: Final = (1, 4, 16, 64, 256) if ON_GPU else (1, 8)
SAMPLES: Final = 8
"""The samples of SmoothGrad."""

TIMED: Final = ("saliency", "deep_lift", "lrp", "smooth_grad")
BATCHES: Final = 60 if ON_GPU else 12
"""The batches by sizes that the engine learns meanwhile."""

ENOUGH: Final = 0.8
"""The least share of the best rate at a fixed size that the learnt sizes must reach on a GPU."""


def main() -> int:
    """Prints them for each network and kind of row."""
    slow = []
    for name, (network, shape) in usual_networks().items():
        own, at = network.to(DEVICE), site_of(name)
        best = 0.0
        for size in SIZES:
            rows = rows_of(shape, size).to(DEVICE)
            calls: dict[str, Callable[[], object]] = {
                "forward": partial(_forward, own, rows),
                "gradient": partial(_gradient, own, rows, name),
            }
            for method in TIMED:
                calls[method] = partial(_explain, own, rows, method, at)
            for kind, call in calls.items():
                try:
                    rate = _measure(name, kind, size, call)
                except Exception as error:  # noqa: BLE001 - what cannot run is told
                    tell(network=name, kind=kind, rows=size, raised=repr(error)[:200])
                    continue
                if kind == "saliency":
                    best = max(best, rate)
        share = _learnt(name, own, shape, at, best)
        if share < ENOUGH:
            slow.append(name)
        network.cpu()
    tell(learnt_below=ENOUGH, networks=slow)
    return len(slow) if ON_GPU else 0


def _measure(name: str, kind: str, size: int, call: Callable[[], object]) -> float:
    """Tells the times of a call; returns its rows per second."""
    waits = _waits(call)
    synchronise()
    begin = perf_counter()
    call()
    launch = perf_counter() - begin
    synchronise()
    seconds = timed(call, seconds=0.1)
    # Each example of SmoothGrad is evaluated several times.
    rows = size * (SAMPLES if kind == "smooth_grad" else 1)
    tell(
        network=name,
        kind=kind,
        rows=rows,
        milliseconds=round(1e3 * seconds, 3),
        launch_ms=round(1e3 * launch, 3),
        synchronisations=waits,
        rows_per_second=round(rows / seconds),
    )
    return rows / seconds


def _waits(call: Callable[[], object]) -> int | None:
    """Returns how often a call waits for the device; None: that is not told on a processor."""
    call()
    if not ON_GPU:
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def _learnt(
    name: str, network: nn.Module, shape: tuple[int, ...], at: Site | None, best: float
) -> float:
    """Runs long requests by the learnt sizes; returns their share of the best rate."""
    count, steps = (64, 512) if ON_GPU else (2, 32)
    explicand = Explicand.of(
        rows_of(shape, count).to(DEVICE), target=0, baselines=0, at=at or INPUT
    )
    sizes: list[int] = []
    rate = 0.0
    while len(sizes) < BATCHES:
        begin = perf_counter()
        before = len(sizes)
        explain(network, IntegratedGradients(n_steps=steps), explicand, on_rows=sizes.append)
        synchronise()
        rate = sum(sizes[before:]) / (perf_counter() - begin)
    share = rate / best if best else 0.0
    tell(
        network=name,
        kind="integrated gradients, learnt sizes",
        batches=len(sizes),
        sizes=sizes[:20] + sizes[-5:],
        rows_per_second=round(rate),
        of_the_best=round(share, 2),
    )
    return share


def _forward(network: nn.Module, rows: Tensor) -> None:
    with torch.no_grad():
        network(rows)


def _gradient(network: nn.Module, rows: Tensor, name: str) -> None:
    if name not in EMBEDDINGS:
        x = rows.detach().requires_grad_()
        torch.autograd.grad(network(x)[:, 0].sum(), x)
        return
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = network.get_submodule(EMBEDDINGS[name]).register_forward_hook(keep)
    outputs = network(rows)
    handle.remove()
    torch.autograd.grad(outputs[:, 0].sum(), seen[0])


def _method(name: str) -> Method:
    return SmoothGrad(n_samples=SAMPLES) if name == "smooth_grad" else METHODS[name]()


def _explain(network: nn.Module, rows: Tensor, name: str, at: Site | None) -> None:
    explicand = Explicand.of(rows, target=0, baselines=0, at=at or INPUT)
    explain(network, _method(name), explicand, batch_rows=256)


if __name__ == "__main__":
    sys.exit(main())
