import asyncio
from collections.abc import Sequence

import pytest

from adcaptum.service.errors import TooBusy, Unavailable
from adcaptum.service.supervisor.restarts import Restarts


async def test_calls_for_the_same_workers_join_and_others_are_refused() -> None:
    asked: list[Sequence[str]] = []
    go = asyncio.Event()

    async def roll(workers: Sequence[str]) -> bool:
        asked.append(workers)
        await go.wait()
        return True

    made = Restarts(roll)
    first = asyncio.create_task(made.restart([]))
    second = asyncio.create_task(made.restart([]))
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await made.restart(["1"])
    first.cancel()
    go.set()
    await second
    assert asked == [[]]
    await made.restart(["1"])
    assert asked == [[], ["1"]]


async def test_a_process_that_does_not_serve_is_an_error() -> None:
    async def roll(_: Sequence[str]) -> bool:
        return False

    with pytest.raises(Unavailable, match="did not serve"):
        await Restarts(roll).restart([])
