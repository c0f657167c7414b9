"""The order in which works begin, and how long others wait for it."""

from __future__ import annotations

import asyncio
import threading
from time import sleep
from typing import Any

import pytest
import torch

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.batch_sizes import BatchSizes
from adcaptum.service.runtime.step import BEGIN_SECONDS, Arrivals
from tests.unit.service.tiny_model import served
from tests.unit.service.works import cost, outputs, running, stop, work

pytestmark = pytest.mark.asyncio


def slow(order: list[str], name: str) -> Flow[Any]:
    """A flow whose first round takes as long to make as all of a step's beginnings may."""
    order.append(name)
    sleep(BEGIN_SECONDS)
    return (yield from outputs(torch.ones(1, 3)))


async def test_predictions_begin_first_and_callers_take_turns() -> None:
    model, _ = served()
    arrivals = Arrivals()
    named = {
        "a1": ("a", Priority.INTERACTIVE),
        "a2": ("a", Priority.INTERACTIVE),
        "a3": ("a", Priority.INTERACTIVE),
        "late": ("c", Priority.BATCH),
        "b1": ("b", Priority.INTERACTIVE),
        "b2": ("b", Priority.INTERACTIVE),
        "prediction": ("a", Priority.PREDICT),
        "nobody's": (None, Priority.INTERACTIVE),
    }
    works = {
        name: work(model, outputs(torch.ones(1, 3)), caller=caller, priority=priority)
        for name, (caller, priority) in named.items()
    }
    for each in works.values():
        arrivals.add(each)
    names = {each: name for name, each in works.items()}
    assert len(arrivals) == len(works)
    taken = [names[arrivals.take()] for _ in works]
    assert taken == ["prediction", "a1", "b1", "nobody's", "a2", "b2", "a3", "late"]
    assert not len(arrivals)


async def test_some_end_after_a_while_and_leave_the_rest() -> None:
    model, _ = served()
    arrivals = Arrivals()
    for _ in range(3):
        arrivals.add(work(model, outputs(torch.ones(1, 3))))
    assert begun_slowly(arrivals) == 1
    assert len(arrivals) == 2


def begun_slowly(arrivals: Arrivals) -> int:
    begun = 0
    for _ in arrivals.some(3, threading.Lock()):
        begun += 1
        sleep(BEGIN_SECONDS)
    return begun


@pytest.mark.parametrize("threads", [0, 1])
async def test_a_prediction_does_not_wait_until_all_explanations_have_begun(threads: int) -> None:
    model, _ = served()
    crashes: list[BaseException] = []
    runner = running(threads, crashes.append)
    order: list[str] = []
    works = [work(model, slow(order, "explanation")) for _ in range(20)]
    for each in works:
        runner.submit(each)
    while not order:
        await works[0].finished
    prediction = work(model, outputs(torch.ones(1, 3)), priority=Priority.PREDICT)
    runner.submit(prediction)
    await prediction.finished
    assert len(order) < len(works)
    for each in works:
        await each.finished
        assert each.error is None
    await stop(runner)
    assert crashes == []


DEAR_BATCHES = {1: 1.0, 2: 1.1, 4: 1.3, 8: 1.7}
DEAR_ROWS = {1: 1.0, 2: 1.9, 4: 3.7, 8: 7.3}


def sizes_of(model: ServedModel, curve: dict[int, float]) -> BatchSizes:
    sizes = BatchSizes(torch.device("cpu"), 10.0)
    sizes.seed(model, {"forward": curve}, {})
    return sizes


@pytest.mark.parametrize(
    ("curve", "rows", "waits"),
    [
        (DEAR_BATCHES, 1, True),
        (DEAR_BATCHES, 8, True),
        (DEAR_BATCHES, 40, False),
        (DEAR_ROWS, 1, False),
    ],
)
async def test_few_rows_wait_for_a_batch_that_runs(
    curve: dict[int, float], rows: int, waits: bool
) -> None:
    model, _ = served()
    sizes, arrivals = sizes_of(model, curve), Arrivals()
    assert arrivals.wait(sizes) == 0
    for _ in range(rows):
        arrivals.add(work(model, outputs(torch.ones(1, 3)), cost=cost(1)))
    assert (arrivals.wait(sizes) > 0) == waits
    # At most for as long as a full batch takes.
    assert arrivals.wait(sizes) <= max(curve.values())


async def test_predictions_wait_for_no_batch_and_nothing_waits_behind_them() -> None:
    model, _ = served()
    sizes, arrivals = sizes_of(model, DEAR_BATCHES), Arrivals()
    arrivals.add(work(model, outputs(torch.ones(1, 3)), cost=cost(1)))
    arrivals.add(work(model, outputs(torch.ones(1, 3)), cost=cost(1), priority=Priority.PREDICT))
    assert arrivals.wait(sizes) == 0
    arrivals.take()
    assert arrivals.wait(sizes) > 0


async def test_works_that_come_while_a_batch_runs_share_the_next() -> None:
    model, module = served()
    crashes: list[BaseException] = []
    runner = running(2, crashes.append)
    runner.core.sizes.seed(model, {"forward": DEAR_BATCHES}, {})
    begun, go_on = threading.Event(), threading.Event()

    def watch(_: torch.Tensor) -> None:
        begun.set()
        go_on.wait(20.0)

    module.watch = watch
    works = [work(model, outputs(torch.full((1, 3), float(i))), cost=cost(1)) for i in range(3)]
    runner.submit(works[0])
    await asyncio.to_thread(begun.wait, 20.0)
    for each in works[1:]:
        runner.submit(each)
    # The other thread has had the time to take them.
    await asyncio.sleep(0.2)
    go_on.set()
    for each in works:
        await each.finished
        assert each.error is None
    await stop(runner)
    assert module.batches == [1, 2]
    assert crashes == []


async def test_works_begin_beside_a_batch_that_takes_longer_than_any_should() -> None:
    model, module = served()
    crashes: list[BaseException] = []
    runner = running(2, crashes.append)
    runner.core.sizes.seed(model, {"forward": {1: 0.01, 2: 0.011, 4: 0.013}}, {})
    begun, go_on = threading.Event(), threading.Event()

    def watch(rows: torch.Tensor) -> None:
        if not rows.any():
            begun.set()
            go_on.wait(20.0)

    module.watch = watch
    stuck = work(model, outputs(torch.zeros(1, 3)), cost=cost(1))
    other = work(model, outputs(torch.ones(1, 3)), cost=cost(1))
    runner.submit(stuck)
    await asyncio.to_thread(begun.wait, 20.0)
    runner.submit(other)
    await asyncio.wait_for(asyncio.shield(other.finished), 10.0)
    assert not stuck.finished.done()
    go_on.set()
    await stuck.finished
    await stop(runner)
    assert crashes == []
