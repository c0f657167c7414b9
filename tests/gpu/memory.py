"""Little memory: batches that do not fit are halved, and grow again when there is more."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.service.models import checks
from adcaptum.service.models.served_model import ServedModel
from tests.gpu.subjects import DEVICE, ON_GPU, mlp, off, rows_of, tell
from tests.gpu.usual import loaded, usual_networks
from tests.unit.service.works import cost, running, stop, work

SHARE: Final = 0.05
"""The share of the device's memory that is left."""

HOLDS: Final = 16
"""The rows of a batch for which a processor is said to have memory."""

STEPS: Final = 512 if ON_GPU else 64
MOST_REQUESTS: Final = 40 if ON_GPU else 60


class Noted(nn.Module):
    """A network that notes the rows of its batches.

    Attributes:
        holds: The most rows for which there is memory; None: the device says it.
        batches: The rows of each batch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.holds: int | None = None
        self.batches: list[int] = []

    def forward(self, rows: Tensor) -> Tensor:
        """Runs the network."""
        self.batches.append(len(rows))
        if self.holds is not None and len(rows) > self.holds:
            raise torch.OutOfMemoryError("as told")
        made: Tensor = self.network(rows)
        return made


def main() -> int:
    """Prints the sizes of batches with little memory and with all of it again."""
    if ON_GPU:
        name, (network, shape) = next(
            (n, pair) for n, pair in usual_networks().items() if len(pair[1]) == 3
        )
    else:
        name, network, shape = "mlp", mlp().eval().requires_grad_(False), (30,)
    noted = Noted(network).eval()
    model = loaded(name, noted, shape)
    rows = rows_of(shape, 2).to(DEVICE)
    explicand = Explicand.of(rows, target=0, baselines=0.0)
    truth = explain(network, IntegratedGradients(n_steps=STEPS), explicand).values[0]
    served = ServedModel.of(model, checks.check(model))
    noted.batches.clear()
    return asyncio.run(_run(served, noted, explicand, truth))


async def _run(served: ServedModel, noted: Noted, explicand: Explicand, truth: Tensor) -> int:
    crashes: list[BaseException] = []
    engine = running(1, crashes.append, str(DEVICE))

    async def answer() -> float:
        flow = IntegratedGradients(n_steps=STEPS).flow(explicand)
        one = work(served, flow, cost=cost(rows=2 * STEPS))
        engine.submit(one)
        await one.finished
        if one.error is not None:
            tell(raised=repr(one.error)[:200])
            return float("inf")
        return off(one.results[0].values[0], truth)

    distances = [await answer()]
    usual = max(noted.batches)
    _bound(noted, SHARE)
    noted.batches.clear()
    distances += [await answer() for _ in range(4)]
    little, tried = max(noted.batches[-4:]), max(noted.batches)
    _bound(noted, None)
    requests = 0
    noted.batches.clear()
    while requests < MOST_REQUESTS and max(noted.batches, default=0) <= little:
        distances.append(await answer())
        requests += 1
    grown = max(noted.batches)
    await stop(engine)
    recovered = usual <= little or grown > little
    tell(
        rows_with_all=usual,
        rows_tried=tried,
        rows_with_little=little,
        rows_after=grown,
        after_requests=requests,
        recovered=recovered,
        off=max(distances),
        crashes=[repr(each) for each in crashes],
    )
    return not (max(distances) < 1e-4 and recovered and not crashes)


def _bound(noted: Noted, share: float | None) -> None:
    if ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0 if share is None else share)
    else:
        noted.holds = None if share is None else HOLDS


if __name__ == "__main__":
    sys.exit(main())
