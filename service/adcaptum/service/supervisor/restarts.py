"""Restarts of workers that callers ask for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from adcaptum.service.errors import Reason, TooBusy, Unavailable

RETRY_SECONDS = 5.0
"""The time after which a refused restart may be asked for again."""


class Restarts:
    """The restart that runs, if one does; calls for the same workers join it."""

    def __init__(self, roll: Callable[[Sequence[str]], Awaitable[bool]]) -> None:
        """Prepares it.

        Args:
            roll: Replaces workers; returns whether that worked.
        """
        self._roll = roll
        self._workers: Sequence[str] = ()
        self._running: asyncio.Future[bool] | None = None

    async def restart(self, workers: Sequence[str]) -> None:
        """Replaces workers, and goes on with that when the caller leaves.

        Args:
            workers: Their ids, in order; empty: all.

        Raises:
            TooBusy: Other workers are being replaced.
            Unavailable: A new process did not serve.
        """
        running = self._running
        if running is None or running.done():
            self._workers = workers
            running = self._running = asyncio.ensure_future(self._roll(workers))
        elif workers != self._workers:
            raise TooBusy(
                "other workers are being replaced", retry_s=RETRY_SECONDS, limit="restarts"
            )
        if not await asyncio.shield(running):
            raise Unavailable(
                "A new worker process did not serve; the old one goes on, and the log says more.",
                reason=Reason.WORKER_LOST,
                retry_s=RETRY_SECONDS,
            )
