"""Bursts: works that come one shortly after another, because batches end for many callers at once.

The callers of a batch have their answers at about the same time, and those that go on send their
next requests one after another. A device thread that takes the first of them alone pays for a batch
of one row, which in a network of many layers takes as long as three (ADR 125).
"""

from collections import deque
from math import inf
from typing import Final

REMEMBERED: Final = 7
"""The gaps of which the middle one counts: a long one between two bursts changes nothing."""

FEWEST: Final = 3
"""The arrivals that must be likely while a batch's own overhead lasts; a lone caller sends none."""

LEAST_SECONDS: Final = 0.0003
"""The shortest wait: shorter ones cost more than they bring."""


class Bursts:
    """The gaps between arrivals, and how long to wait for the next one."""

    def __init__(self) -> None:
        self._gaps = deque([inf] * REMEMBERED, maxlen=REMEMBERED)
        self._first = self._last = -inf
        self._waiting = False

    def arrive(self, now: float) -> None:
        """Notes an arrival.

        Args:
            now: The time, in seconds.
        """
        self._gaps.append(now - self._last)
        self._last = now
        if not self._waiting:
            self._waiting = True
            self._first = now

    def take(self) -> None:
        """Notes that all that have arrived are taken."""
        self._waiting = False

    def wait(self, now: float, overhead: float, most: float) -> float:
        """Returns how long to wait for more, in seconds; 0: not any longer.

        Args:
            now: The time, in seconds.
            overhead: What a batch takes beside its rows, in seconds.
            most: The longest wait of the first arrival, in seconds.
        """
        gap = sorted(self._gaps)[REMEMBERED // 2]
        if gap * FEWEST > overhead:
            return 0.0
        until = min(self._last + max(2 * gap, LEAST_SECONDS), self._first + most)
        return max(0.0, until - now)
