"""The engine loop: batches of many works, and what happens when one of them fails."""

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.service.errors import Cancelled, DeadlineExceeded, ModelRaised, Unavailable
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.service.runtime.thread_runner import ThreadRunner
from adcaptum.service.runtime.work import Work
from tests.unit.service.tiny_model import Watched, served
from tests.unit.service.works import cost, outputs, running, setup, stop, work


@pytest.fixture(params=[0, 1, 2], ids=["in the event loop", "one thread", "two threads"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[EngineRunner]:
    crashes: list[BaseException] = []
    runner = running(request.param, crashes.append)
    yield runner
    await stop(runner)
    assert crashes == []


@pytest.fixture
def model() -> tuple[ServedModel, Watched]:
    return served()


def four_rows_fit(rows: Tensor) -> None:
    if len(rows) > 4:
        raise torch.OutOfMemoryError("pretended")


def expected(module: Watched, rows: Tensor) -> Tensor:
    return torch.nn.functional.linear(rows, module.weight) ** 2


async def test_every_work_gets_its_own_rows(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    inputs = [torch.randn(1 + i % 5, 3) for i in range(50)]
    works = [work(model[0], outputs(rows)) for rows in inputs]
    for each in works:
        engine.submit(each)
    for each, rows in zip(works, inputs, strict=True):
        await each.finished
        assert each.error is None
        torch.testing.assert_close(each.results[0].values, expected(model[1], rows))


async def test_works_that_come_together_share_batches(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    # Distinct rows: equal ones may be evaluated once where rows have taken long.
    works = [work(model[0], outputs(torch.full((1, 3), float(i)))) for i in range(50)]
    for each in works:
        engine.submit(each)
    await asyncio.gather(*(each.finished for each in works))
    assert sum(model[1].batches) == 50
    assert len(model[1].batches) < 50


async def test_stages_follow_each_other(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    one = work(model[0], outputs(torch.ones(1, 3)), outputs(torch.zeros(2, 3)))
    engine.submit(one)
    await one.finished
    torch.testing.assert_close(one.results[0].values, torch.zeros(2, 2))


async def test_only_the_culprit_fails(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def watch(rows: Tensor) -> None:
        if bool((rows > 100).any()):
            raise ArithmeticError("too large")

    model[1].watch = watch
    inputs = [torch.full((2, 3), 1000.0 if i == 7 else float(i)) for i in range(16)]
    works = [work(model[0], outputs(rows)) for rows in inputs]
    for each in works:
        engine.submit(each)
    await asyncio.gather(*(each.finished for each in works))
    assert [i for i, each in enumerate(works) if each.error is not None] == [7]
    assert isinstance(works[7].error, ModelRaised)
    assert works[7].error.subject == "tiny"
    # The log has the model's own error with its trace, callers have neither.
    assert isinstance(works[7].error.__cause__, ArithmeticError)
    assert works[7].error.__cause__.__traceback__ is not None
    assert "too large" not in str(works[7].error)


@pytest.mark.parametrize("error", [ArithmeticError("mine"), SystemExit("mine"), TypeError("mine")])
async def test_what_a_model_raises_is_told_from_faults_of_the_server(
    error: BaseException, engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def watch(rows: Tensor) -> None:
        raise error

    def faulty() -> Flow[Any]:
        yield from outputs(torch.ones(1, 3))
        raise ArithmeticError("a fault of the method")

    one = work(model[0], faulty())
    engine.submit(one)
    await one.finished
    assert type(one.error) is ArithmeticError
    model[1].watch = watch
    other = work(model[0], outputs(torch.ones(1, 3)))
    engine.submit(other)
    await other.finished
    assert isinstance(other.error, ModelRaised)
    assert "mine" in str(other.error.__cause__)


class NoWayBack(torch.autograd.Function):
    """The identity, whose gradient nobody knows."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(*_: Any) -> Tensor:
        raise ArithmeticError("no way back")


async def test_a_backward_pass_that_raises_is_the_models_own_too(
    engine: EngineRunner, model: tuple[ServedModel, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, apply = model[1].forward, cast("Any", NoWayBack).apply
    monkeypatch.setattr(model[1], "forward", lambda rows: apply(forward(rows)))
    rows = Given((torch.ones(1, 3),))
    one = work(
        model[0], ask(Evaluation(rows, Output(torch.zeros(1, 1, dtype=torch.int64)), wrt=INPUT))
    )
    engine.submit(one)
    await one.finished
    assert isinstance(one.error, ModelRaised)
    assert isinstance(one.error.__cause__, ArithmeticError)


async def test_results_that_fit_in_no_memory_fail_their_own_work(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    await too_large_beside_small(engine, model[0], planning_seconds=0.0)


async def test_so_do_those_of_works_that_plan_apart(model: tuple[ServedModel, Watched]) -> None:
    crashes: list[BaseException] = []
    threads = running(1, crashes.append)
    await too_large_beside_small(threads, model[0], planning_seconds=1.0)
    await stop(threads)
    assert crashes == []


async def too_large_beside_small(
    engine: EngineRunner, model: ServedModel, planning_seconds: float
) -> None:
    many = torch.ones(1, 3).expand(1 << 44, 3)
    large = work(model, outputs(many), cost=cost(planning_seconds=planning_seconds))
    small = work(model, outputs(torch.ones(1, 3)))
    for each in (large, small):
        engine.submit(each)
    await asyncio.gather(large.finished, small.finished)
    assert isinstance(large.error, RuntimeError)
    assert small.error is None


async def test_a_batch_that_does_not_fit_runs_again_in_parts(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    model[1].watch = four_rows_fit
    rows = torch.randn(33, 3)
    one = work(model[0], outputs(rows))
    engine.submit(one)
    await one.finished
    assert one.error is None
    torch.testing.assert_close(one.results[0].values, expected(model[1], rows))


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"]
)
async def test_so_does_one_that_a_library_of_the_device_has_no_memory_for(
    engine: EngineRunner, model: tuple[ServedModel, Watched], text: str
) -> None:
    def watch(rows: Tensor) -> None:
        if len(rows) > 4:
            raise RuntimeError(text)

    model[1].watch = watch
    rows = torch.randn(33, 3)
    one = work(model[0], outputs(rows))
    engine.submit(one)
    await one.finished
    assert one.error is None
    torch.testing.assert_close(one.results[0].values, expected(model[1], rows))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_error_after_which_the_device_answers_no_more_ends_the_engine(
    model: tuple[ServedModel, Watched],
) -> None:
    crashes: list[BaseException] = []
    crashed = asyncio.Event()

    def note(error: BaseException) -> None:
        crashes.append(error)
        crashed.set()

    def watch(rows: Tensor) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    model[1].watch = watch
    engine = running(1, note)
    one = work(model[0], outputs(torch.ones(2, 3)))
    engine.submit(one)
    await asyncio.wait_for(crashed.wait(), 10)
    await stop(engine)
    assert "device-side assert" in str(crashes[0])
    # Its journal keeps whose rows ran, for the supervisor of a worker.
    assert len(engine.core.running) == 1
    # Until the process ends, requests are answered so that they are sent elsewhere.
    assert isinstance(one.error, Unavailable)


async def test_what_does_not_fit_is_hardly_ever_tried_again(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    model[1].watch = four_rows_fit
    failed = []
    for _ in range(6):
        model[1].batches.clear()
        works = [work(model[0], outputs(torch.randn(33, 3))) for _ in range(3)]
        for each in works:
            engine.submit(each)
        await asyncio.gather(*(each.finished for each in works))
        assert [each.error for each in works] == [None] * 3
        assert [each.request.served_rows for each in works] == [33] * 3
        failed.append(sum(rows > 4 for rows in model[1].batches))
    # Once after 64 batches, by each of two threads, and then not before 128 more.
    assert sum(failed[1:]) <= 2


async def test_a_row_that_does_not_fit_fails_its_work(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def watch(rows: Tensor) -> None:
        raise torch.OutOfMemoryError("pretended")

    model[1].watch = watch
    one = work(model[0], outputs(torch.ones(1, 3)))
    engine.submit(one)
    await one.finished
    assert isinstance(one.error, torch.OutOfMemoryError)


async def test_the_error_of_an_evaluation_is_thrown_into_the_flow(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    seen: list[Exception] = []

    def flow() -> Flow[Any]:
        try:
            return (yield from outputs(torch.ones(1, 3)))
        except ArithmeticError as error:
            seen.append(error)
            raise

    def watch(rows: Tensor) -> None:
        raise ArithmeticError("always")

    model[1].watch = watch
    one = work(model[0], flow())
    engine.submit(one)
    await one.finished
    assert [str(error) for error in seen] == ["always"]


async def test_a_cancelled_work_closes_its_flow(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    loop, begun, closed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def flow() -> Flow[Any]:
        loop.call_soon_threadsafe(begun.set)
        try:
            while True:
                yield from outputs(torch.ones(1, 3))
        finally:
            closed.set()

    one = work(model[0], flow())
    engine.submit(one)
    await begun.wait()
    engine.cancel(one, "cancelled")
    await one.finished
    assert isinstance(one.error, Cancelled)
    assert closed.is_set()


async def test_a_deadline_ends_a_work(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def flow() -> Flow[Any]:
        while True:
            yield from outputs(torch.ones(1, 3))

    one = work(model[0], flow(), deadline=monotonic() + 0.05)
    engine.submit(one)
    await one.finished
    assert isinstance(one.error, DeadlineExceeded)


async def test_whatever_is_cancelled_or_fails_survivors_get_their_own_rows(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def watch(rows: Tensor) -> None:
        if bool((rows[:, 0] > 100).any()):
            raise ArithmeticError("too large")

    model[1].watch = watch
    chance = random.Random(0)
    works: list[tuple[str, Work, Tensor]] = []
    for _ in range(120):
        fate = chance.choice(["answered", "answered", "cancelled", "raising"])
        rows = torch.randn(chance.randint(1, 40), 3)
        if fate == "raising":
            rows[-1, 0] = 1000
        one = work(model[0], outputs(rows), outputs(rows * 2))
        works.append((fate, one, rows))
        engine.submit(one)
        if fate == "cancelled":
            engine.cancel(one, "cancelled")
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    for fate, one, rows in works:
        await one.finished
        if fate == "answered":
            assert one.error is None
            torch.testing.assert_close(one.results[0].values, expected(model[1], rows * 2))
        else:
            assert one.error is not None
    assert engine.core.waiting_rows == 0


async def test_a_stopped_engine_fails_what_it_has_left(model: tuple[ServedModel, Watched]) -> None:
    runner = ThreadRunner(setup(lambda _: None))
    one = work(model[0], outputs(torch.ones(1, 3)))
    runner.submit(one)
    await stop(runner)
    await one.finished
    assert isinstance(one.error, Unavailable)


async def test_the_memory_of_an_ended_work_does_not_wait_for_the_garbage_collector(
    engine: EngineRunner, model: tuple[ServedModel, Watched]
) -> None:
    def watch(rows: Tensor) -> None:
        if bool((rows > 100).any()):
            raise ArithmeticError("too large")

    model[1].watch = watch
    gc.collect()
    gc.disable()
    try:
        held = []
        for value in (1.0, 1000.0, 2.0):
            rows = torch.full((2, 3), value)
            one = work(model[0], outputs(rows), outputs(rows))
            engine.submit(one)
            if value == 2.0:
                engine.cancel(one, "cancelled")
            await one.finished
            if one.error is not None:
                # The traceback of an error holds what its frames held.
                one.error.__traceback__ = None
                if one.error.__cause__ is not None:
                    one.error.__cause__.__traceback__ = None
            held.append(weakref.ref(rows))
            del one, rows
        # A device thread may tell the event loop a little before it is done.
        await stop(engine)
        assert [each() for each in held] == [None, None, None]
    finally:
        gc.enable()
