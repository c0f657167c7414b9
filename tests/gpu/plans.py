"""First batches of a size in a new thread, later ones, and batches padded to a power of two.

cuDNN makes a plan for each shape, and PyTorch keeps it for the thread that asked. Whether batches
should be padded to few sizes, and threads warmed up, depends on what a plan costs beside rows that
nobody needs. Nothing is done so far (docs/decisions/0155): these figures are to decide it.
"""

from __future__ import annotations

import sys
from functools import partial
from threading import Thread
from time import perf_counter
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, Explicand, explain
from adcaptum.engine.methods.gradients.saliency import Saliency
from tests.gpu.subjects import DEVICE, ON_GPU, rows_of, synchronise, tell, timed
from tests.gpu.usual import site_of, usual_networks

SIZES: Final = (3, 5, 13, 27, 51, 100, 180) if ON_GPU else (3, 5)


def main() -> int:
    """Prints the milliseconds of each size for each network; fails if a thread does."""
    failed = []
    for name, (network, shape) in usual_networks().items():
        own = network.to(DEVICE)
        # The kernels themselves are loaded, in another thread than that which is timed.
        _gradient(own, name, rows_of(shape, 8).to(DEVICE))
        told: list[int] = []
        thread = Thread(target=partial(_in_a_new_thread, name, own, shape, told))
        thread.start()
        thread.join()
        if len(told) < len(SIZES):
            failed.append(name)
        own.cpu()
    tell(failed=failed)
    return len(failed)


def _in_a_new_thread(
    name: str, network: nn.Module, shape: tuple[int, ...], told: list[int]
) -> None:
    for size in SIZES:
        padded = 1 << (size - 1).bit_length()
        first, later = _first_and_later(network, name, rows_of(shape, size).to(DEVICE))
        first_padded, later_padded = _first_and_later(
            network, name, rows_of(shape, padded).to(DEVICE)
        )
        more = later_padded - later
        tell(
            network=name,
            rows=size,
            padded_rows=padded,
            first_ms=round(1e3 * first, 3),
            later_ms=round(1e3 * later, 3),
            first_padded_ms=round(1e3 * first_padded, 3),
            later_padded_ms=round(1e3 * later_padded, 3),
            # After so many batches of this size padding has cost more than a plan.
            batches_that_pay_a_plan=round((first - later) / more) if more > 0 else None,
        )
        told.append(size)


def _first_and_later(network: nn.Module, name: str, rows: Tensor) -> tuple[float, float]:
    synchronise()
    begin = perf_counter()
    _gradient(network, name, rows)
    synchronise()
    first = perf_counter() - begin
    return first, timed(partial(_gradient, network, name, rows), seconds=0.1)


def _gradient(network: nn.Module, name: str, rows: Tensor) -> None:
    explicand = Explicand.of(rows, target=0, at=site_of(name) or INPUT)
    explain(network, Saliency(), explicand, batch_rows=256)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
