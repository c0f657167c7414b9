"""Works that the tests have engines do."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.engine_runner import EngineRunner, EngineSetup
from adcaptum.service.runtime.loop_runner import LoopRunner
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.runtime.planning_threads import PlanningThreads
from adcaptum.service.runtime.thread_runner import ThreadRunner
from adcaptum.service.runtime.work import Work


class Plan:
    """Asks for the outputs of rows, in as many stages as one likes."""

    def __init__(self, *stages: Flow[Any]) -> None:
        self._stages = list(stages)

    def first(self) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._stages.pop(0)),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._stages.pop(0)),) if self._stages else ()


def outputs(rows: Tensor) -> Flow[Any]:
    return ask(Evaluation(Given((rows,))))


def work(model: ServedModel, *stages: Flow[Any], **options: Any) -> Work:
    finished = asyncio.get_running_loop().create_future()
    planned = options.pop("cost", cost())
    return Work(model, Plan(*stages), planned, finished=finished, arrival=monotonic(), **options)


def cost(rows: int = 0, nbytes: int = 0, planning_seconds: float = 0.0) -> Cost:
    """The cost of forward rows."""
    of_kind = {"forward": rows}
    return Cost(
        of_kind,
        of_kind,
        of_kind,
        planning_seconds,
        plain=not planning_seconds,
        nbytes=nbytes,
        row_bytes=12,
    )


def setup(crashed: Callable[[BaseException], None], device: str = "cpu") -> EngineSetup:
    loop = asyncio.get_running_loop()
    planning = PlanningThreads(crashed)
    return EngineSetup(loop, torch.device(device), Metrics(), 0.025, crashed, planning)


def running(
    threads: int,
    crashed: Callable[[BaseException], None],
    device: str = "cpu",
    intra_op_threads: int = 1,
) -> EngineRunner:
    """A runner that has started: threads, or, with none of them, the event loop."""
    about = setup(crashed, device)
    if not threads:
        return LoopRunner(about, lambda _: None)
    runner = ThreadRunner(about)
    runner.start(Threads(threads, intra_op_threads))
    return runner


async def stop(runner: EngineRunner) -> None:
    assert await asyncio.to_thread(runner.stop, 20.0)
    runner.fail_all()
