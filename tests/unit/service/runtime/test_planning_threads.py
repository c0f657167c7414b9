"""Long mathematics of methods: apart from batches, in order, and stopped between its pieces."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import torch

from adcaptum.engine.vocabulary.flow import Flow, pause
from adcaptum.service.errors import Cancelled, ModelRaised
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.work import Work
from tests.unit.service.tiny_model import Watched, served
from tests.unit.service.works import cost, outputs, running, stop, work


@pytest.fixture
async def engine() -> AsyncIterator[EngineRunner]:
    crashes: list[BaseException] = []
    runner = running(1, crashes.append)
    yield runner
    await stop(runner)
    assert crashes == []


@pytest.fixture
def model() -> tuple[ServedModel, Watched]:
    return served()


def long(model: ServedModel, flow: Flow[Any]) -> Work:
    return work(model, flow, cost=cost(planning_seconds=1.0))


@pytest.mark.parametrize("when", ["at its start", "at its end"])
async def test_a_prediction_is_answered_while_a_method_computes(
    engine: EngineRunner, model: tuple[ServedModel, Watched], when: str
) -> None:
    loop, computing, predicted = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def flow() -> Flow[Any]:
        if when == "at its end":
            yield from outputs(torch.ones(3, 3))
        loop.call_soon_threadsafe(computing.set)
        assert predicted.wait(20)
        return (yield from outputs(torch.ones(2, 3)))

    method = long(model[0], flow())
    engine.submit(method)
    await computing.wait()
    prediction = work(model[0], outputs(torch.ones(1, 3)))
    engine.submit(prediction)
    await prediction.finished
    assert not method.finished.done()
    predicted.set()
    await method.finished
    assert method.error is None
    assert method.results[0].values.shape == (2, 2)


async def test_a_method_that_computes_stops_at_its_next_pause(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    loop, computing, closed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def flow() -> Flow[Any]:
        loop.call_soon_threadsafe(computing.set)
        try:
            while True:
                yield from pause()
        finally:
            closed.set()

    method = long(model[0], flow())
    engine.submit(method)
    await computing.wait()
    engine.cancel(method, "cancelled")
    await method.finished
    assert isinstance(method.error, Cancelled)
    assert closed.is_set()


async def test_methods_that_compute_take_turns(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    """More of them than planning threads, of which none ends before all have begun."""
    begun: set[int] = set()

    def flow(number: int) -> Flow[Any]:
        begun.add(number)
        while len(begun) < 8:
            yield from pause()
        return (yield from outputs(torch.ones(1, 3)))

    works = [long(model[0], flow(number)) for number in range(8)]
    for each in works:
        engine.submit(each)
    await asyncio.gather(*(each.finished for each in works))
    assert [each.error for each in works] == [None] * 8


async def test_rows_of_two_flows_of_a_work_that_computes_arrive(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    rows = torch.randn(200, 3)
    method = long(model[0], outputs(rows))
    engine.submit(method)
    await method.finished
    expected = torch.nn.functional.linear(rows, model[1].weight) ** 2
    torch.testing.assert_close(method.results[0].values, expected)
    assert method.rows_done == 200


async def test_what_the_model_raises_ends_a_work_that_computes(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def refuse(rows: torch.Tensor) -> None:
        raise ArithmeticError("never")

    model[1].watch = refuse
    method = long(model[0], outputs(torch.ones(2, 3)))
    engine.submit(method)
    await method.finished
    assert isinstance(method.error, ModelRaised)
    assert isinstance(method.error.__cause__, ArithmeticError)


def test_tasks_of_a_work_run_one_at_a_time_in_their_order() -> None:
    crashes: list[BaseException] = []
    pool = PlanningThreads(crashes.append, threads=4)
    at_once, seen, done = threading.Lock(), list[int](), threading.Event()
    one: Any = object()

    def task(number: int) -> None:
        assert at_once.acquire(blocking=False)
        seen.append(number)
        at_once.release()
        if number == 199:
            done.set()

    for number in range(200):
        pool.put(one, lambda number=number: task(number))  # type: ignore[misc]
    assert done.wait(20)
    assert pool.stop(20)
    assert seen == list(range(200))
    assert crashes == []
