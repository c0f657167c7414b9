"""Waits for requests that do not come."""

import asyncio
from typing import Any, cast

import pytest

from adcaptum.service.errors import DeadlineExceeded, InvalidRequest, TooBusy
from adcaptum.service.rpc.messages import Context, RequestWaits


class Sent:
    """A call of which the request comes when it is put here."""

    def __init__(self, *messages: Any) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        for each in messages:
            self._messages.put_nowait(each)

    async def read(self) -> Any:
        return await self._messages.get()


def call(*messages: Any) -> Context:
    return cast("Context", Sent(*messages))


async def test_a_request_that_comes_is_returned() -> None:
    assert await RequestWaits().received(call(b"request")) == b"request"


async def test_a_call_that_ends_without_a_request_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="missing"):
        await RequestWaits().received(call(None))


async def test_a_request_that_does_not_come_is_too_late_and_the_task_goes_on() -> None:
    waits = RequestWaits(seconds=0.02)
    for _ in range(2):
        results = await asyncio.gather(
            waits.received(call()),
            waits.received(call(b"in time")),
            waits.received(call()),
            return_exceptions=True,
        )
        late, came, also_late = results
        assert came == b"in time"
        assert isinstance(late, DeadlineExceeded)
        assert isinstance(also_late, DeadlineExceeded)
    with pytest.raises(DeadlineExceeded, match=r"no request came within 0\.02 s"):
        await waits.received(call())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_calls_beyond_the_most_that_may_wait_are_refused() -> None:
    waits = RequestWaits(most=2)
    waiting = [asyncio.ensure_future(waits.received(call())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy, match="2 calls have not sent their requests"):
        await waits.received(call(b"beyond"))
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert await waits.received(call(b"next")) == b"next"
    waiting[1].cancel()


async def test_a_caller_that_goes_away_cancels_the_wait() -> None:
    waits = RequestWaits()
    task = asyncio.ensure_future(waits.received(call()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await waits.received(call(b"next")) == b"next"
