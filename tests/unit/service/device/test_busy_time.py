"""Compute time: while batches of a request ran, each second once."""

import asyncio
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output
from adcaptum.engine.vocabulary.flow import ask
from adcaptum.service.device.busy_time import BusyTime
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.runtime.work import Work
from tests.unit.service.tiny_model import served
from tests.unit.service.works import cost, outputs, running, stop


def test_what_runs_side_by_side_counts_once() -> None:
    busy = BusyTime()
    busy.begin(10.0)
    busy.begin(11.0)
    busy.end(12.0)
    busy.end(15.0)
    assert busy.seconds == 5.0
    busy.begin(20.0)
    busy.end(21.0)
    assert busy.seconds == 6.0


def test_what_still_runs_counts_up_to_now() -> None:
    busy = BusyTime()
    begin = monotonic()
    busy.begin(begin)
    seconds = busy.seconds
    assert 0 <= seconds <= monotonic() - begin
    assert busy.seconds >= seconds


class Twofold:
    """Asks for outputs and for gradients, which no batch has together."""

    def __init__(self, rows: Tensor) -> None:
        indices = torch.zeros(len(rows), 1, dtype=torch.int64)
        self._gradients = ask(Evaluation(Given((rows,)), Output(indices), INPUT))
        self._outputs = outputs(rows)

    def first(self) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._outputs), PlannedFlow(self._gradients))

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return ()


async def test_a_work_computes_no_longer_than_it_takes_with_batches_in_two_threads() -> None:
    model, module = served()
    both = threading.Barrier(2, timeout=30)

    def meet(_rows: Tensor) -> None:
        # So long that what is around the batches takes less.
        for _ in range(20):
            both.wait()

    module.watch = meet
    crashes: list[BaseException] = []
    loop = asyncio.get_running_loop()
    engine = running(2, crashes.append)
    begin = monotonic()
    plan = Twofold(torch.randn(1, 3))
    work = Work(model, plan, cost(), finished=loop.create_future(), arrival=begin)
    engine.submit(work)
    await work.finished
    total = monotonic() - begin
    await stop(engine)
    assert crashes == []
    assert work.error is None
    assert work.batches == 2
    assert 0 < work.compute_seconds <= total
