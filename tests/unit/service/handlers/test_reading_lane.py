"""Lanes in which requests are read."""

import asyncio
import threading
from time import monotonic

import pytest

from adcaptum.service.errors import Cancelled, DeadlineExceeded, TooBusy
from adcaptum.service.handlers import reading_lane
from adcaptum.service.handlers.reading_lane import ReadingLane
from adcaptum.service.requests.reading import Reading


def lane(threads: int = 1) -> ReadingLane:
    return ReadingLane("test", threads, lambda: 1.0)


async def waiting(task: "asyncio.Task[object]") -> None:
    """Lets a task go on until it waits."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()


def start(own: ReadingLane, caller: str, reading: Reading, work: object) -> "asyncio.Task[object]":
    return asyncio.ensure_future(own.run(caller, reading, work))  # type: ignore[arg-type]


async def test_callers_take_turns_however_many_requests_each_has() -> None:
    own, gate, order = lane(), threading.Event(), []
    first = start(own, "greedy", Reading(1), gate.wait)
    await waiting(first)
    tasks = [
        start(own, caller, Reading(1), lambda caller=caller: order.append(caller))
        for caller in ["greedy", "greedy", "greedy", "modest", "other"]
    ]
    await waiting(tasks[-1])
    gate.set()
    await asyncio.gather(first, *tasks)
    assert order == ["greedy", "modest", "other", "greedy", "greedy"]
    own.close()


async def test_a_deadline_ends_the_wait_and_the_others_have_their_turn() -> None:
    own, gate = lane(), threading.Event()
    first = start(own, "a", Reading(1), gate.wait)
    await waiting(first)
    late = start(own, "a", Reading(1, due=monotonic() + 0.01), lambda: None)
    patient = start(own, "b", Reading(1), lambda: "read")
    with pytest.raises(DeadlineExceeded):
        await late
    gate.set()
    assert await patient == "read"
    assert await own.run("c", Reading(1), lambda: 1) == 1
    own.close()


async def test_a_place_is_taken_until_its_thread_has_ended() -> None:
    own, gate, reading = lane(), threading.Event(), Reading(1)
    first = start(own, "a", reading, gate.wait)
    await waiting(first)
    second = start(own, "b", Reading(1), lambda: "read")
    await waiting(second)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await waiting(second)
    assert reading.abandoned
    gate.set()
    assert await second == "read"
    own.close()


async def test_a_cancelled_wait_gives_its_turn_on() -> None:
    own, gate = lane(), threading.Event()
    first = start(own, "a", Reading(1), gate.wait)
    await waiting(first)
    gone, patient = (start(own, name, Reading(1), lambda: "read") for name in "bc")
    await waiting(patient)
    gone.cancel()
    gate.set()
    assert await patient == "read"
    with pytest.raises(asyncio.CancelledError):
        await gone
    own.close()


async def test_errors_come_back_and_free_the_place() -> None:
    own = lane()

    def fail() -> None:
        raise ValueError("wrong")

    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"):
            await own.run("a", Reading(1), fail)
    own.close()


async def test_there_is_an_end_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_lane, "MOST_WAITING", 2)
    own, gate = lane(), threading.Event()
    tasks = [start(own, "a", Reading(1), gate.wait) for _ in range(3)]
    await waiting(tasks[-1])
    with pytest.raises(TooBusy):
        await own.run("b", Reading(1), gate.wait)
    gate.set()
    await asyncio.gather(*tasks)
    own.close()


def test_a_reading_ends_when_nobody_waits_for_it() -> None:
    Reading(1).check()
    Reading(1, due=monotonic() + 60).check()
    with pytest.raises(DeadlineExceeded):
        Reading(1, due=monotonic() - 1).check()
    with pytest.raises(Cancelled):
        Reading(1, abandoned=True).check()
