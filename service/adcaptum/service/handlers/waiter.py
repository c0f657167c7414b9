"""Waiters: requests that wait for a computation, perhaps with others, each until its deadline."""

import asyncio
from time import monotonic
from typing import Any, NamedTuple

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import DeadlineExceeded


class Terms(NamedTuple):
    """The terms on which a request waits.

    Attributes:
        priority: Its class.
        due: When its answer is due, on the monotonic clock; None: at the end.
        partial: Whether the request accepts the best answer so far at that time.
        stream: Whether it is notified of progress.
    """

    priority: Priority
    due: float | None
    partial: bool
    stream: bool


class Waiter:
    """A request that waits for a computation.

    Attributes:
        terms: The terms on which it waits.
        joined: Whether the computation was running when it came.
        overdue: Whether its deadline has come.
        news: Set at the computation's end, at the deadline, and, for streams, at progress.
    """

    __slots__ = ("_finished", "_timer", "joined", "news", "overdue", "terms")

    def __init__(self, finished: asyncio.Future[Any], terms: Terms, *, joined: bool) -> None:
        """Starts the timer of the deadline.

        Args:
            finished: Set when the computation has ended.
            terms: The terms on which the request waits.
            joined: Whether the computation was running before.
        """
        self._finished = finished
        self.terms = terms
        self.joined = joined
        self.overdue = False
        self.news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        if terms.due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, terms.due - monotonic()), self._expire)

    @property
    def over(self) -> bool:
        """True if the computation has ended or the deadline has come."""
        return self.overdue or self._finished.done()

    async def end(self) -> None:
        """Waits until the computation has ended, or its best answer so far has to do.

        Raises:
            DeadlineExceeded: The deadline has come, and no such answer will do.
        """
        while not self.over:
            await self.progress()
        if not (self._finished.done() or self.terms.partial):
            raise DeadlineExceeded("the deadline came before the answer")

    async def progress(self) -> None:
        """Waits for progress or for the end."""
        await self.news.wait()
        self.news.clear()

    def close(self) -> None:
        """Stops the timer of the deadline."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.overdue = True
        self.news.set()
