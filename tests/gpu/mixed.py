"""Many works of three models in two device threads, some cancelled, against the CPU's float64."""

from __future__ import annotations

import asyncio
import sys
from copy import deepcopy
from random import Random
from time import perf_counter
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Site, explain
from adcaptum.service.models import checks
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.work import Work
from tests.gpu.registry import convolutions
from tests.gpu.subjects import DEVICE, ON_GPU, Encoder, off, rows_of, tell
from tests.gpu.usual import loaded
from tests.unit.service.works import cost, running, stop, work

WORKS: Final = 400 if ON_GPU else 32
SAME: Final = 1e-4
LOSING: Final = {"deep_lift": 1e-3, "lrp": 1e-3, "kernel_shap": 5e-4, "occlusion": 5e-4}
"""How far methods may be off that subtract outputs or divide by what may be near zero: in float32 a
processor's are up to 2e-4 off, too."""
DETERMINISTIC: Final = 20 if ON_GPU else 4
GRADIENTS: Final = ("saliency", "integrated_gradients", "smooth_grad")
NAMES: Final = (*GRADIENTS, "deep_lift", "lrp", "kernel_shap", "occlusion")
THREADS: Final = 2


class Ask(NamedTuple):
    """A work to be.

    Attributes:
        which: The number of its model.
        method: Its method.
        examples: The number of its examples.
        seed: Of its inputs and of the method.
        cancelled: Whether its caller goes away.
    """

    which: int
    method: str
    examples: int
    seed: int
    cancelled: bool


def main() -> int:
    """Prints the worst distance, and whether a deterministic answer is always the same."""
    torch.manual_seed(3)
    smooth = nn.Sequential(
        nn.Linear(12, 32), nn.Softplus(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    )
    subjects: list[tuple[str, nn.Module, tuple[int, ...]]] = [
        ("table", smooth.eval().requires_grad_(False), (12,)),
        ("pictures", convolutions(), (2, 6, 6)),
        ("encoder", Encoder(width=32, layers=2).eval().requires_grad_(False), (64,)),
    ]
    exact = [deepcopy(network).double() for _, network, _ in subjects]
    models = [loaded(*subject) for subject in subjects]
    served = [ServedModel.of(model, checks.check(model)) for model in models]
    chance = Random(0)
    asked = [_ask(chance, seed) for seed in range(WORKS)]
    begin = perf_counter()
    works, same = asyncio.run(_run(served, subjects, asked))
    seconds = perf_counter() - begin
    distances: dict[Ask, float] = {}
    for each, one in zip(asked, works, strict=True):
        if one.error is None:
            _, _, shape = subjects[each.which]
            question = _explicand(each, shape, torch.device("cpu"), torch.float64)
            truth = explain(exact[each.which], METHODS[each.method](), question).values[0]
            distances[each] = off(one.results[0].values[0], truth)
    errors = [
        repr(one.error)[:200]
        for each, one in zip(asked, works, strict=True)
        if one.error is not None and not each.cancelled
    ]
    bad = [each for each, far in distances.items() if not far <= _allowed(each)]
    worst = max(distances, key=lambda each: distances[each] / _allowed(each))
    tell(
        works=WORKS,
        answered=len(distances),
        cancelled=sum(one.error is not None for one in works) - len(errors),
        errors=errors[:5],
        seconds=round(seconds, 1),
        worst=distances[worst],
        of=worst._asdict(),
        deterministic_same=same,
    )
    return bool(bad or errors or not same)


def _allowed(asked: Ask) -> float:
    return LOSING.get(asked.method, SAME)


def _ask(chance: Random, seed: int) -> Ask:
    which = chance.randrange(3)
    # Token ids are explained at their embedding, which is for gradients.
    method = chance.choice(GRADIENTS if which == 2 else NAMES)
    return Ask(which, method, chance.randint(1, 4), seed, chance.random() < 0.15)


def _explicand(
    asked: Ask, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Explicand:
    rows = rows_of(shape, asked.examples, asked.seed).to(device)
    rows = rows.to(dtype) if rows.is_floating_point() else rows
    masks = METHODS[asked.method].traits.feature_masks
    mask = (torch.arange(rows[0].numel()) % 6).view(1, *shape).to(device) if masks else None
    at = INPUT if rows.is_floating_point() else Site("embedding")
    return Explicand.of(
        rows, target=asked.seed % 3, baselines=0, feature_mask=mask, seed=asked.seed, at=at
    )


async def _run(
    served: list[ServedModel], subjects: list[Any], asked: list[Ask]
) -> tuple[list[Work], bool]:
    crashes: list[BaseException] = []
    engine = running(THREADS, crashes.append, str(DEVICE))

    def begin(each: Ask, *, deterministic: bool = False) -> Work:
        question = _explicand(each, subjects[each.which][2], DEVICE, torch.float32)
        flow = METHODS[each.method]().flow(question)
        planned = cost(rows=50 * each.examples)
        made = work(served[each.which], flow, cost=planned, deterministic=deterministic)
        engine.submit(made)
        return made

    works, same = [], []
    first = Ask(0, "integrated_gradients", 3, 0, cancelled=False)
    for number, each in enumerate(asked):
        works.append(begin(each))
        if number % (WORKS // DETERMINISTIC) == 0:
            same.append(begin(first, deterministic=True))
        if each.cancelled:
            await asyncio.sleep(0.001)
            engine.cancel(works[-1], "cancelled")
        if number % 16 == 15:
            await works[number - 8].finished
    await asyncio.gather(*(each.finished for each in (*works, *same)))
    await stop(engine)
    assert not crashes, crashes
    values: list[Tensor] = [each.results[0].values[0] for each in same]
    return works, all(torch.equal(values[0], each) for each in values)


if __name__ == "__main__":
    sys.exit(main())
