"""The passes of the event loop for which a step waits."""

from __future__ import annotations

import asyncio

import pytest
import torch

from adcaptum.service.runtime import loop_runner
from tests.unit.service.tiny_model import served
from tests.unit.service.works import outputs, running, stop, work

pytestmark = pytest.mark.asyncio


async def test_a_request_that_comes_seldom_waits_for_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_runner, "SELDOM_SECONDS", 0.0)
    model, module = served()
    runner = running(0, lambda error: None)
    one, other = work(model, outputs(torch.ones(1, 3))), work(model, outputs(torch.zeros(1, 3)))
    runner.submit(one)
    await asyncio.sleep(0)
    assert one.finished.done()
    runner.submit(other)
    await other.finished
    assert module.batches == [1, 1]
    await stop(runner)


async def test_requests_that_come_one_after_another_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_runner, "SELDOM_SECONDS", 1e9)
    model, module = served()
    runner = running(0, lambda error: None)
    begun = 0
    for count in (8, 16):
        works = [work(model, outputs(torch.full((1, 3), float(each)))) for each in range(count)]
        for each in works:
            runner.submit(each)
            await asyncio.sleep(0)
        begun = len(module.batches)
        await asyncio.gather(*[each.finished for each in works])
        if count == 8:
            # Before the first ones nothing was known of how often they come.
            assert 1 <= begun < 8
            module.batches.clear()
    assert begun == 0, "all had come before the first batch"
    await stop(runner)
