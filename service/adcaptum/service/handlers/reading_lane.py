"""Reading lanes: threads that read requests, a few at a time, callers in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from time import monotonic
from typing import Final, TypeVar

from adcaptum.service.errors import DeadlineExceeded, TooBusy
from adcaptum.service.requests.reading import Reading

T = TypeVar("T")

MOST_WAITING: Final = 1024
"""The most requests that wait for a place in a lane."""


class ReadingLane:
    """A pool of threads that read requests.

    Callers take turns, however many requests each has waiting. A place is free again when its
    thread has ended, even if nobody waits for the result any longer. For the event loop only.
    """

    def __init__(self, name: str, threads: int, retry_seconds: Callable[[], float]) -> None:
        """Prepares the lane; threads start with the first requests.

        Args:
            name: The name of its threads.
            threads: The number of requests that are read at a time.
            retry_seconds: Returns after how many seconds a refused request should be tried again.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"adcaptum-{name}")
        self._free = threads
        self._retry_seconds = retry_seconds
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._count = 0

    async def run(self, caller: str, reading: Reading, work: Callable[[], T]) -> T:
        """Runs `work` in a thread when it is the caller's turn.

        Args:
            caller: The caller's name.
            reading: The bounds of the request; it is abandoned if this call is cancelled.
            work: The function to run.

        Raises:
            DeadlineExceeded: The deadline came before the turn.
            TooBusy: Too many requests wait.
        """
        await self._turn(caller, reading)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, copy_context().run, work)
        running.add_done_callback(self._ended)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            reading.abandoned = True
            raise

    def close(self) -> None:
        """Starts no more readings; those that run go on to their end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, caller: str, reading: Reading) -> None:
        if self._free:
            self._free -= 1
            return
        if self._count >= MOST_WAITING:
            raise TooBusy(
                f"{self._count} requests wait to be read",
                retry_s=self._retry_seconds(),
                limit="requests",
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._count += 1
        left = None if reading.due is None else max(0.0, reading.due - monotonic())
        try:
            async with asyncio.timeout(left):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._next()
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("the deadline came before the request was read") from error
            raise

    def _ended(self, running: "asyncio.Future[T]") -> None:
        # Marks the error as retrieved: the caller may be gone, and asyncio would log it.
        if not running.cancelled():
            running.exception()
        self._next()

    def _next(self) -> None:
        while self._waiting:
            caller, waiting = self._waiting.popitem(last=False)
            turn = waiting.popleft()
            self._count -= 1
            if waiting:
                self._waiting[caller] = waiting
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
