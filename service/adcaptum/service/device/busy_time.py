"""Busy time: the time in which at least one of several things runs."""

from threading import Lock
from time import monotonic


class BusyTime:
    """A sum of the time in which at least one thing runs; for any thread."""

    __slots__ = ("_lock", "_over", "_running", "_since")

    def __init__(self) -> None:
        self._lock = Lock()
        self._over = 0.0
        self._running = 0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """Notes that one more thing runs from `now` on, in seconds on the monotonic clock."""
        with self._lock:
            if not self._running:
                self._since = now
            self._running += 1

    def end(self, now: float) -> None:
        """Notes that one of them has ended at `now`."""
        with self._lock:
            self._running -= 1
            if not self._running:
                self._over += max(0.0, now - self._since)

    @property
    def seconds(self) -> float:
        """The time so far, up to now if anything runs."""
        with self._lock:
            return self._over + (monotonic() - self._since if self._running else 0.0)
