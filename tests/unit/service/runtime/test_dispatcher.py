"""Room for works, what is in flight, and who gets the device first."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.scheduling.limits import ANY, Limits
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.service.errors import TooBusy
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import Ahead, Cost
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.runtime.work import Work
from tests.unit.service.tiny_model import served
from tests.unit.service.works import cost

LIGHT = {"forward": {1: 1e-4, 64: 2e-4}, "gradient": {1: 1e-4, 64: 2e-4}}
HEAVY = {"forward": {1: 0.02, 2: 0.03}, "gradient": {1: 0.02, 2: 0.03}}


class Rows:
    """A plan that asks for the outputs of some rows."""

    def __init__(self, rows: int, value: float) -> None:
        self._rows = torch.full((rows, 3), value)

    def first(self) -> Sequence[PlannedFlow]:
        flow: Flow[Any] = ask(Evaluation(Given((self._rows,))))
        return (PlannedFlow(flow),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return ()


def work(
    model: ServedModel, rows: int = 1, value: float = 1.0, nbytes: int = 0, **about: Any
) -> Work:
    finished = asyncio.get_running_loop().create_future()
    plan = Rows(rows, value)
    expected = cost(rows, nbytes)
    return Work(model, plan, expected, finished=finished, arrival=monotonic(), **about)


def lane(engines: Dispatcher, model: ServedModel, rows: int = 1) -> EngineRunner:
    return engines._lane(model, cost(rows))


def seconds(engines: Dispatcher, model: ServedModel, **rows: int) -> float:
    expected = Cost(rows, rows, rows, 0.0, plain=True, nbytes=0, row_bytes=12)
    return engines.forecast(model, expected, Priority.INTERACTIVE).seconds


def ahead(
    engines: Dispatcher, model: ServedModel, priority: Priority = Priority.INTERACTIVE
) -> Ahead:
    return engines.forecast(model, cost(1), priority).ahead


def engines(limits: Limits = ANY, caller_limits: Limits = ANY) -> Dispatcher:
    def crashed(error: BaseException) -> None:
        raise error

    return Dispatcher(
        asyncio.get_running_loop(),
        torch.device("cpu"),
        Metrics(),
        target_batch_seconds=0.025,
        crashed=crashed,
        limits=limits,
        caller_limits=caller_limits,
    )


@pytest.fixture
async def idle() -> AsyncIterator[Dispatcher]:
    """Engines whose threads were never started: what is submitted waits."""
    made = engines(Limits(requests=3, rows=100, nbytes=1000), Limits(requests=2))
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"rows": 80}, "the server has 40 rows in flight, of 100 allowed"),
        ({"nbytes": 900}, "the server has 200 bytes in flight, of 1000 allowed"),
        ({"caller": "a"}, "this caller has 2 requests in flight, of 2 allowed"),
    ],
    ids=["rows", "bytes", "requests of a caller"],
)
async def test_a_work_for_which_there_is_no_room_is_refused(
    idle: Dispatcher, about: dict[str, Any], message: str
) -> None:
    model, _ = served()
    idle.add(model, HEAVY)
    for _ in range(2):
        idle.submit(work(model, 20, caller="a", nbytes=100, seconds=0.3))
    with pytest.raises(TooBusy, match=message):
        idle.submit(work(model, **about))
    idle.submit(work(model, 10, caller="b", nbytes=100))
    with pytest.raises(TooBusy, match="the server has 3 requests in flight, of 3 allowed"):
        idle.submit(work(model, caller="c"))


async def test_who_is_refused_is_told_when_there_will_be_room(idle: Dispatcher) -> None:
    model, _ = served()
    idle.add(model, HEAVY)
    for _ in range(2):
        idle.submit(work(model, 50, seconds=4.0))
    with pytest.raises(TooBusy) as half:
        idle.submit(work(model, 50))
    with pytest.raises(TooBusy) as tenth:
        idle.submit(work(model, 10))
    assert half.value.retry_s == pytest.approx(4.0)
    assert tenth.value.retry_s == pytest.approx(0.8)


async def test_what_is_under_way_counts_over_light_and_heavy_models(idle: Dispatcher) -> None:
    light, heavy = served()[0], served()[0]
    idle.add(light, LIGHT)
    idle.add(heavy, HEAVY)
    idle.submit(work(light, 5, caller="a", nbytes=10))
    idle.submit(work(heavy, 7, caller="a", nbytes=20))
    held = idle.held("a")
    assert (held.requests, held.rows, held.nbytes) == (2, 12, 30)
    with pytest.raises(TooBusy):
        idle.submit(work(light, caller="a"))


async def test_who_comes_is_told_what_is_ahead_of_it(idle: Dispatcher) -> None:
    model, _ = served()
    idle.add(model, HEAVY)
    idle.submit(work(model, 4, seconds=seconds(idle, model, forward=4)))
    idle.submit(work(model, 6, priority=Priority.BATCH, seconds=9.0))
    first, everything = ahead(idle, model), ahead(idle, model, Priority.BATCH)
    assert (first.requests, first.rows) == (1, 4)
    assert first.seconds == pytest.approx(0.06, rel=0.1)
    assert (everything.requests, everything.rows) == (2, 10)
    assert everything.seconds == pytest.approx(first.seconds + 9.0)


async def test_only_small_requests_of_light_models_run_in_the_event_loop(idle: Dispatcher) -> None:
    light, heavy = served()[0], served()[0]
    idle.add(light, LIGHT)
    idle.add(heavy, HEAVY)
    in_loop = lane(idle, light)
    assert lane(idle, light, 300) is in_loop
    assert lane(idle, light, 3000) is not in_loop
    assert lane(idle, heavy) is lane(idle, light, 3000)


async def test_seconds_are_those_of_rows_and_batches(idle: Dispatcher) -> None:
    light, heavy = served()[0], served()[0]
    idle.add(light, LIGHT)
    idle.add(heavy, HEAVY)
    assert seconds(idle, heavy, forward=1) == pytest.approx(0.02, rel=0.01)
    assert seconds(idle, heavy, forward=100) == pytest.approx(1.5, rel=0.1)
    assert seconds(idle, light, forward=64, gradient=64) == pytest.approx(4e-4, rel=0.1)


@pytest.mark.parametrize("curves", [LIGHT, HEAVY], ids=["light", "heavy"])
async def test_works_that_have_ended_make_room(curves: dict[str, dict[int, float]]) -> None:
    model, module = served()

    def watch(rows: Tensor) -> None:
        if len(rows) == 5:
            raise ArithmeticError("five")

    module.watch = watch
    running = engines(Limits(requests=1))
    running.add(model, curves)
    running.start(Threads(1, 1))
    # Answered, failed, cancelled.
    for rows in (2, 5, 3):
        one = work(model, rows, caller="a", nbytes=50, seconds=0.1)
        running.submit(one)
        if rows == 3:
            running.cancel(one, "cancelled")
        await one.finished
        held = running.held()
        assert (held.requests, held.rows, held.nbytes) == (0, 0, 0)
        assert ahead(running, model, Priority.BATCH) == (0, 0, 0.0)
    await running.stop()


@pytest.mark.parametrize("curves", [LIGHT, HEAVY], ids=["light", "heavy"])
async def test_every_batch_is_led_by_the_first_class_that_waits(
    curves: dict[str, dict[int, float]],
) -> None:
    model, module = served()
    led: list[float] = []
    module.watch = lambda rows: led.append(rows[0, 0].item())
    running = engines()
    running.add(model, curves)
    works = [
        work(model, 200, value=float(priority), priority=priority)
        for priority in reversed(Priority)
    ]
    for each in works:
        running.submit(each)
    running.start(Threads(1, 1))
    await asyncio.gather(*(each.finished for each in works))
    assert led == sorted(led)
    assert set(led) >= {0.0, 1.0}
    await running.stop()


async def test_cores_may_be_divided_anew_while_works_run() -> None:
    model, _ = served()
    running = engines()
    running.add(model, HEAVY)
    others = {*threading.enumerate()}
    running.start(Threads(1, 1))
    first = work(model, 4)
    running.submit(first)
    await first.finished
    before = {*threading.enumerate()} - others
    running.start(Threads(2, 1))
    works = [work(model, 4) for _ in range(20)]
    for each in works:
        running.submit(each)
    await asyncio.gather(*[each.finished for each in works])
    for thread in before:
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive()
    assert before
    assert all(each.error is None for each in works)
    assert await running.stop()
