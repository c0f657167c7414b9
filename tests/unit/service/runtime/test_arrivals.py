"""The order in which works begin, and how long others wait for it."""

from __future__ import annotations

import threading
from time import sleep
from typing import Any

import pytest
import torch

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.service.runtime.step import BEGIN_SECONDS, Arrivals
from tests.unit.service.tiny_model import served
from tests.unit.service.works import outputs, running, stop, work

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
