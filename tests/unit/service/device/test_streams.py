"""Where batches run: beside each other, and what is told in between."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

from adcaptum.engine.execution.parts import Part
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.service.device import streams
from adcaptum.service.device.batch_memory import BatchMemory
from adcaptum.service.errors import ModelRaised
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.engine_core import EngineCore
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.work import Work
from adcaptum.service.wire import tensor_writer, tensors
from tests.unit.service.tiny_model import Watched, served
from tests.unit.service.works import outputs, running, stop, work

CPU = torch.device("cpu")


class Told:
    """A stream that writes down when batches run.

    Attributes:
        events: What happened, in order.
    """

    def __init__(self) -> None:
        self.events: list[str] = []

    def run(self, batch: Callable[[], list[Part]]) -> list[Part]:
        self.events.append("begin")
        try:
            return batch()
        finally:
            self.events.append("end")


def stepped(one: Work, stream: Told) -> EngineCore:
    core = EngineCore(
        CPU,
        Metrics(),
        target_batch_seconds=0.025,
        notify=lambda ended, advanced: None,
        planning=PlanningThreads(lambda error: None),
    )
    step_to_the_end(core, one, stream)
    return core


def step_to_the_end(core: EngineCore, one: Work, stream: Told) -> None:
    core.queue.submit(one)
    while not one.ended:
        core.step(core.queue.next(), stream)


@pytest.fixture
def told() -> Told:
    return Told()


async def test_batches_run_on_the_stream_and_flows_outside_of_it(told: Told) -> None:
    model, module = served()
    module.watch = lambda _: told.events.append("model")

    def flow() -> Flow[Tensor]:
        told.events.append("flow")
        reading = yield from ask(Evaluation(Given((torch.ones(1, 3),))))
        told.events.append("flow")
        return reading.values

    one = work(model, flow())
    stepped(one, told)
    assert one.error is None
    assert told.events == ["flow", "begin", "model", "end", "flow"]


async def test_a_batch_that_fails_ends_on_its_stream_too(told: Told) -> None:
    model, module = served()

    def fail(_: Tensor) -> None:
        raise ArithmeticError("too large")

    module.watch = fail
    one = work(model, outputs(torch.ones(1, 3)))
    stepped(one, told)
    assert isinstance(one.error, ModelRaised)
    assert isinstance(one.error.__cause__, ArithmeticError)
    assert told.events == ["begin", "end"]


async def test_a_batch_that_does_not_fit_into_memory_runs_again_in_halves(told: Told) -> None:
    model, module = served()

    def fill(rows: Tensor) -> None:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("no room")

    module.watch = fill
    one = work(model, outputs(torch.eye(3)[:2]))
    one_row = work(model, outputs(torch.eye(3)[2:]))
    core = stepped(one_row, told)
    assert one_row.error is None
    step_to_the_end(core, one, told)
    assert one.error is None
    torch.testing.assert_close(one.results[0].values, module.weight.T[:2] ** 2)


def test_a_processor_has_no_streams() -> None:
    part = Part(torch.ones(1))
    assert streams.stream(CPU, Metrics()).run(lambda: [part]) == [part]
    given = torch.ones(2)
    assert tensors.to_device(given, CPU) is given


def test_every_tensor_of_a_part_is_known() -> None:
    one, two, three, four = (torch.full((1,), float(i)) for i in range(4))
    assert streams.tensors(Part(one, (two,), (three,), four)) == (one, two, three, four)
    assert streams.tensors(Part(one)) == (one,)


class Meter:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.used = 100
        self.most = 100

    def begin(self) -> int:
        self.most = self.used
        return self.used

    def peak(self) -> int:
        return self.most


def test_a_batch_that_runs_alone_tells_what_it_takes() -> None:
    meter = Meter()
    memory = BatchMemory(meter)
    begun = memory.begin()
    meter.most = 150
    assert memory.end(begun) == 50


def test_batches_that_run_beside_each_other_tell_nothing() -> None:
    meter = Meter()
    memory = BatchMemory(meter)
    first, second = memory.begin(), memory.begin()
    meter.most = 300
    assert memory.end(first) is None
    third = memory.begin()
    assert memory.end(second) is None
    assert memory.end(third) is None
    alone = memory.begin()
    meter.most = 130
    assert memory.end(alone) == 30


def test_without_a_meter_nothing_is_told() -> None:
    memory = BatchMemory.of(CPU)
    assert memory.end(memory.begin()) is None


CUDA = torch.device("cuda")
on_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def on_device(device: torch.device) -> tuple[ServedModel, Watched]:
    model, module = served()
    module.to(device)
    loaded = replace(
        model.loaded,
        device=device,
        examples=tuple(each.to(device) for each in model.loaded.examples),
        backgrounds=MappingProxyType({}),
    )
    return ServedModel.of(loaded, model.checks), module


def gradients(rows: Tensor) -> Flow[object]:
    target = Output(torch.zeros(len(rows), 1, dtype=torch.int64))
    return ask(Evaluation(Given((rows,)), target, INPUT))


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=on_cuda)], ids=str)
async def test_two_threads_give_every_work_its_own_rows(device: torch.device) -> None:
    model, module = on_device(device)
    crashes: list[BaseException] = []
    engine = running(2, crashes.append, str(device))
    inputs = [torch.randn(1 + i % 7, 3) for i in range(60)]
    works = []
    for rows in inputs:
        there = tensors.to_device(rows, device)
        works.append(work(model, gradients(there)))
        engine.submit(works[-1])
    await asyncio.gather(*(each.finished for each in works))
    await stop(engine)
    assert crashes == []
    weight = module.weight.cpu()[0]
    for each, rows in zip(works, inputs, strict=True):
        expected = 2 * (rows @ weight)[:, None] * weight
        torch.testing.assert_close(each.results[0].gradients[0].cpu(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("size", [4, 1 << 20])
def test_tensors_come_and_go_by_way_of_pinned_memory(size: int) -> None:
    given = torch.randn(size)
    there = tensors.to_device(given, CUDA)
    assert there.is_cuda
    read = tensors.decode(tensor_writer.encode(there), "x")
    assert isinstance(read, Tensor)
    assert torch.equal(read, given)
