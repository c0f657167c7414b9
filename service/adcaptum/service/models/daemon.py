"""Calls into models' own code on threads that nothing waits for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from adcaptum.service.models.failure_reason import ModelFailure

T = TypeVar("T")


class ModelExit(ModelFailure):
    """A model's code raised something that would end a process, such as `SystemExit`."""


async def in_daemon(work: Callable[[], T], name: str) -> T:
    """Runs a function on a daemon thread of its own and returns its result.

    If the caller is cancelled the thread runs on, and its result is dropped: no thread can be ended
    from outside. A daemon thread keeps no process from ending.

    Args:
        work: The function.
        name: The thread's name.

    Raises:
        ModelExit: The function raised a `BaseException` that is not an `Exception`.
        Exception: The function's own errors.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(result)  # type: ignore[arg-type]  # T may itself be None
        else:
            ended.set_exception(error)

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # the caller that awaits handles it
            failure = error
        except BaseException as error:  # noqa: BLE001  # sys.exit in a model ends no server
            failure = ModelExit(f"{type(error).__name__} was raised: {error}")
            failure.__cause__ = error
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await ended
