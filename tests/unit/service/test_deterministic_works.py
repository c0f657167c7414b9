"""Works whose answers are the same to the last bit, through the engine loop."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.runtime.work import Work
from tests.unit.service.tiny_model import served
from tests.unit.service.works import cost, running, stop

METHOD = resolve(METHODS["integrated_gradients"], {"n_steps": 70})


class Explaining:
    """Asks for one explanation."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow

    def first(self) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._flow),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return ()


@pytest.fixture(params=[0, 1, 2], ids=["in the event loop", "one thread", "two threads"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[EngineRunner]:
    intra_op_threads = torch.get_num_threads()
    runner = running(request.param, lambda error: None, intra_op_threads=intra_op_threads)
    yield runner
    await stop(runner)


def question(seed: int, examples: int = 1) -> Explicand:
    generator = torch.Generator().manual_seed(seed)
    return Explicand.of(torch.randn(examples, 3, generator=generator), target=1, baselines=0.0)


def work(model: ServedModel, explicand: Explicand, *, deterministic: bool) -> Work:
    return Work(
        model,
        Explaining(METHOD.flow(explicand)),
        cost(),
        finished=asyncio.get_running_loop().create_future(),
        arrival=monotonic(),
        deterministic=deterministic,
    )


def bits(attribution: Attribution) -> list[bytes]:
    every = (*attribution.values, attribution.completeness_error, attribution.output)
    return [t.numpy().tobytes() for t in every if isinstance(t, Tensor)]


async def test_a_deterministic_answer_is_the_library_s_whatever_shares_the_device(
    engine: EngineRunner,
) -> None:
    model, module = served()
    asked = [question(seed, 1 + seed % 3) for seed in range(4)]
    expected = [bits(explain(module, METHOD, each, deterministic=True)) for each in asked]
    for seed in range(3):
        works = [work(model, each, deterministic=True) for each in asked]
        others = [work(model, question(100 + i), deterministic=i % 2 == 0) for i in range(12)]
        every = [*works, *others]
        random.Random(seed).shuffle(every)
        for each in every:
            engine.submit(each)
        await asyncio.gather(*(each.finished for each in every))
        assert [bits(each.results[0]) for each in works] == expected


async def test_a_model_whose_rows_depend_on_each_other_gets_one_at_a_time(
    engine: EngineRunner,
) -> None:
    model, module = served()
    dependent = replace(model, checks=replace(model.checks, independent=False))
    one = work(dependent, question(0), deterministic=True)
    engine.submit(one)
    await one.finished
    assert one.error is None
    assert set(module.batches) == {1}
