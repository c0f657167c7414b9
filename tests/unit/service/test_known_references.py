"""What a served model makes of baselines is kept from request to request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner
from tests.unit.service.tiny_model import served
from tests.unit.service.works import running, stop, work


@pytest.fixture(params=[0, 2], ids=["in the event loop", "two threads"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[EngineRunner]:
    crashes: list[BaseException] = []
    runner = running(request.param, crashes.append)
    yield runner
    await stop(runner)
    assert crashes == []


def question(seed: int) -> Explicand:
    x = torch.randn(1 + seed % 3, 3, generator=torch.Generator().manual_seed(seed))
    return Explicand.of(x, target=seed % 2, baselines=torch.full((1, 3), 0.5))


async def answer(
    engine: EngineRunner, model: ServedModel, seed: int, *, deterministic: bool = False
) -> Tensor:
    flow = METHODS["deep_lift"]().flow(question(seed))
    one = work(model, flow, deterministic=deterministic)
    engine.submit(one)
    await one.finished
    assert one.error is None
    values: tuple[Tensor, ...] = one.results[0].values
    return values[0]


async def test_a_baseline_is_evaluated_once_and_never_again(engine: EngineRunner) -> None:
    model, module = served()
    # Of one row each, which no batch can cut.
    for seed in range(0, 18, 3):
        await answer(engine, model, seed)
    assert module.batches == [2, 1, 1, 1, 1, 1]


async def test_answers_are_those_without_a_memory(engine: EngineRunner) -> None:
    model, module = served()
    found = await asyncio.gather(*(answer(engine, model, seed) for seed in range(40)))
    again = await asyncio.gather(*(answer(engine, model, seed) for seed in range(40)))
    for seed in range(40):
        expected = explain(module, METHODS["deep_lift"](), question(seed)).values[0]
        torch.testing.assert_close(found[seed], expected)
        torch.testing.assert_close(again[seed], expected)
    assert model.references is not None
    assert len(model.references) == 1


async def test_deterministic_works_evaluate_their_baselines(engine: EngineRunner) -> None:
    model, module = served()
    for seed in range(0, 12, 3):
        await answer(engine, model, seed, deterministic=True)
    assert module.batches == [2] * 4


def test_nothing_is_kept_of_models_that_mix_rows_nor_where_there_is_no_room() -> None:
    model, _ = served()
    mixing = replace(model.checks, independent=False)
    assert ServedModel.of(model.loaded, model.checks).references is not None
    assert ServedModel.of(model.loaded, mixing).references is None
    assert ServedModel.of(model.loaded, model.checks, reference_bytes=0).references is None
