"""Works beside which no rows wait: their rows need no queue."""

from collections.abc import AsyncIterator

import pytest
import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output
from adcaptum.engine.vocabulary.flow import ask
from adcaptum.service.runtime import engine_core
from adcaptum.service.runtime.engine_runner import EngineRunner
from tests.unit.service.tiny_model import served
from tests.unit.service.works import outputs, running, stop, work

ROWS = torch.arange(30.0).view(10, 3)


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineRunner]:
    # On a busy machine two batches may take longer.
    monkeypatch.setattr(engine_core, "ALONE_SECONDS", 60.0)
    crashes: list[BaseException] = []
    runner = running(0, crashes.append)
    runner.core.sizes.sizer.fixed = 64
    yield runner
    await stop(runner)
    assert crashes == []


def expected(weight: Tensor, rows: Tensor) -> Tensor:
    return torch.nn.functional.linear(rows, weight) ** 2


def queued_rows(engine: EngineRunner) -> int:
    return engine.core._scheduler.statistics().added_rows


async def test_its_rows_are_evaluated_without_a_queue(engine: EngineRunner) -> None:
    model, module = served()
    lone = work(model, outputs(ROWS))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    torch.testing.assert_close(lone.results[0].values, expected(module.weight, ROWS))
    assert queued_rows(engine) == 0
    assert lone.batches == 1
    assert lone.request.served_rows == len(ROWS)
    assert engine.core.ledger.total.requests == 0


async def test_its_stages_follow_each_other_at_once(engine: EngineRunner) -> None:
    model, module = served()
    target = Output(torch.zeros(len(ROWS), 1, dtype=torch.int64))
    lone = work(model, outputs(ROWS), ask(Evaluation(Given((ROWS,)), target, wrt=INPUT)))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    torch.testing.assert_close(lone.results[0].values, expected(module.weight, ROWS)[:, 0])
    assert queued_rows(engine) == 0
    assert lone.batches == 2


async def test_what_does_not_fit_into_one_batch_is_queued(engine: EngineRunner) -> None:
    model, module = served()
    engine.core.sizes.sizer.fixed = 4
    lone = work(model, outputs(ROWS))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    torch.testing.assert_close(lone.results[0].values, expected(module.weight, ROWS))
    assert queued_rows(engine) == len(ROWS)
    assert lone.batches == 3


async def test_what_fails_is_queued_and_evaluated_again(engine: EngineRunner) -> None:
    model, module = served()

    def fails_once(_: Tensor) -> None:
        module.watch = lambda _: None
        raise torch.OutOfMemoryError("pretended")

    module.watch = fails_once
    lone = work(model, outputs(ROWS))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    torch.testing.assert_close(lone.results[0].values, expected(module.weight, ROWS))
    assert queued_rows(engine) == len(ROWS)


async def test_works_that_come_together_wait_for_each_other(engine: EngineRunner) -> None:
    model, module = served()
    works = [work(model, outputs(ROWS + step)) for step in range(2)]
    for each in works:
        engine.submit(each)
    for step, each in enumerate(works):
        await each.finished
        torch.testing.assert_close(each.results[0].values, expected(module.weight, ROWS + step))
    assert queued_rows(engine) == 2 * len(ROWS)


async def test_its_progress_is_told_once_its_flow_has_gone_on(engine: EngineRunner) -> None:
    model, _ = served()
    told: list[int] = []
    lone = work(model, outputs(ROWS), outputs(ROWS))
    lone.progressed = lambda: told.append(len(lone.running))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    assert told == [1]
    assert queued_rows(engine) == 0


async def test_what_takes_long_is_queued(
    engine: EngineRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, module = served()
    monkeypatch.setattr(engine_core, "ALONE_SECONDS", 0.0)
    lone = work(model, outputs(ROWS))
    engine.submit(lone)
    await lone.finished
    assert lone.error is None
    torch.testing.assert_close(lone.results[0].values, expected(module.weight, ROWS))
    assert queued_rows(engine) == len(ROWS)
