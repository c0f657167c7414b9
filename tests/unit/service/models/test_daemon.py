"""Calls into models' code on daemon threads."""

import asyncio
import sys
import threading

import pytest

from adcaptum.service.models.daemon import ModelExit, in_daemon


async def test_a_result_and_an_error_come_back() -> None:
    assert await in_daemon(lambda: 3, "three") == 3
    with pytest.raises(ZeroDivisionError):
        await in_daemon(lambda: 1 // 0, "error")


async def test_an_exit_is_an_error() -> None:
    with pytest.raises(ModelExit, match="SystemExit was raised: 3"):
        await in_daemon(lambda: sys.exit(3), "exit")


async def test_a_thread_that_hangs_is_left_alone() -> None:
    gate, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await in_daemon(hang, "hangs")
    await asyncio.to_thread(begun.wait)
    (thread,) = [each for each in threading.enumerate() if each.name == "hangs"]
    assert thread.daemon
    gate.set()
    await asyncio.to_thread(thread.join)
