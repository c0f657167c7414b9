"""The loop watch: measures the lag of the event loop, and logs the code that holds it up."""

import asyncio
import sys
import threading
import traceback
from time import monotonic
from typing import Final

from prometheus_client import Histogram

from adcaptum.service import logs

TICK_SECONDS: Final = 0.05
"""The time between two measurements."""

STALL_SECONDS: Final = 1.0
"""A stall of the loop that is so long is logged while it lasts, with the place in the code."""

FRAMES: Final = 8
"""The frames of that place, innermost last."""


class LoopWatch:
    """Watches the running event loop."""

    def __init__(self, lag: Histogram) -> None:
        """Prepares the watch.

        Args:
            lag: Where delays are counted, in seconds.
        """
        self._lag = lag
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Starts measuring."""
        self._schedule()
        threading.Thread(target=self._look, name="loop-watch", daemon=True).start()

    def stop(self) -> None:
        """Stops measuring."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._due = monotonic() + TICK_SECONDS
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._lag.observe(max(0.0, monotonic() - self._due))
        self._schedule()

    def _look(self) -> None:
        logged = 0.0
        while not self._stopped.wait(STALL_SECONDS / 4):
            due = self._due
            late = monotonic() - due
            if late > STALL_SECONDS and due != logged:
                logged = due
                logs.logger().warning(
                    "the event loop is held up", seconds=round(late, 2), where=self._place()
                )

    def _place(self) -> list[str]:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # there is no other way
        stack = traceback.extract_stack(frame)[-FRAMES:]
        return [f"{each.filename}:{each.lineno} {each.name}" for each in stack]
