"""Rows per second by batch size, and of the sizes that the engine learns."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from tests.gpu.subjects import DEVICE, ON_GPU, networks, rows_of, synchronise, tell, timed

SIZES: Final = (1, 4, 16, 64, 256, 1024) if ON_GPU else (1, 8)


def main() -> None:
    """Prints them for each network and kind of row."""
    for name, (network, shape) in networks().items():
        own = network.to(DEVICE)
        at = Site("embedding") if name == "encoder" else None
        best: dict[str, float] = {}
        for size in SIZES:
            rows = rows_of(shape, size).to(DEVICE)
            for kind, call in {
                "forward": partial(_forward, own, rows),
                "gradient": partial(_gradient, own, rows, at),
                "saliency": partial(_explain, own, rows, "saliency", at),
                "deep_lift": partial(_explain, own, rows, "deep_lift", at),
                "lrp": partial(_explain, own, rows, "lrp", at),
            }.items():
                begin = perf_counter()
                call()
                launched = perf_counter() - begin
                seconds = timed(call, seconds=0.15)
                best[kind] = max(best.get(kind, 0.0), size / seconds)
                tell(
                    network=name,
                    kind=kind,
                    rows=size,
                    milliseconds=round(1e3 * seconds, 3),
                    first_launch_ms=round(1e3 * launched, 3),
                    rows_per_second=round(size / seconds),
                )
        _learnt(name, own, shape, at, best)


def _learnt(
    name: str, network: nn.Module, shape: tuple[int, ...], at: Site | None, best: dict[str, float]
) -> None:
    """Long requests by the learnt sizes, against the best of the bare loops above."""
    count, steps = (64, 512) if ON_GPU else (2, 32)
    rows = rows_of(shape, count).to(DEVICE)
    method = IntegratedGradients(n_steps=steps)
    explicand = Explicand.of(rows, target=0, baselines=0, at=at or Site(""))
    for turn in range(3):
        begin = perf_counter()
        explain(network, method, explicand)
        synchronise()
        rate = count * steps / (perf_counter() - begin)
        tell(
            network=name,
            kind="integrated gradients, learnt batches",
            turn=turn,
            rows_per_second=round(rate),
            share_of_bare_gradients=round(rate / best["gradient"], 2),
        )


def _forward(network: nn.Module, rows: Tensor) -> None:
    with torch.no_grad():
        network(rows)


def _gradient(network: nn.Module, rows: Tensor, at: Site | None) -> None:
    if at is None:
        x = rows.detach().requires_grad_()
        torch.autograd.grad(network(x)[:, 0].sum(), x)
        return
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = network.get_submodule("embedding").register_forward_hook(keep)
    outputs = network(rows)
    handle.remove()
    torch.autograd.grad(outputs[:, 0].sum(), seen[0])


def _explain(network: nn.Module, rows: Tensor, method: str, at: Site | None) -> None:
    explicand = Explicand.of(rows, target=0, baselines=0, at=at or Site(""))
    explain(network, METHODS[method](), explicand, batch_rows=len(rows))


if __name__ == "__main__":
    main()
