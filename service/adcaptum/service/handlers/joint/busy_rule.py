"""The busy rule: requests wait for each other while the device computes for their callers anyway.

Nothing is learnt, and nobody waits for requests that may not come:
1. A turn begins at once while fewer works run than keep the device busy, or if a request is of a
   caller for whom none runs.
2. Otherwise it begins when a work has ended, or when the first request has waited for as long as
   a batch may take.

No clock, thread or event loop: times come in as arguments, in seconds on any one clock.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

MOST_SECONDS: Final = 0.025
"""The longest wait, about a batch."""


class BusyRule:
    """The rule of a place where works run beside the event loop."""

    def __init__(self, enough: Callable[[], int]) -> None:
        """Prepares it.

        Args:
            enough: Returns the number of works that keep the device busy.
        """
        self._enough = enough
        self._works = 0
        self._callers = Counter[str]()
        self._first = 0.0
        self._waiting = 0
        self._at_once = False

    def arrive(self, now: float, caller: str) -> None:
        """Counts a request that has come."""
        if not self._waiting:
            self._first = now
        self._waiting += 1
        self._at_once |= not self._callers[caller]

    def leave(self) -> None:
        """Counts a request that waits no more, because its caller has gone."""
        self._waiting -= 1

    def due(self, now: float) -> float:
        """Returns when the next turn is to begin: a time not after `now` says at once."""
        if self._at_once or self._works < self._enough():
            return now
        return self._first + MOST_SECONDS

    def begin(self, now: float, *, sure: bool = True) -> None:  # noqa: ARG002 - nothing is learnt
        """Notes that a turn begins with all that have been gathered."""
        self._waiting = 0
        self._at_once = False

    def begun(self, callers: Iterable[str]) -> None:
        """Counts a work that has begun, for some callers."""
        self._works += 1
        self._callers.update(callers)

    def ended(self, callers: Iterable[str]) -> bool:
        """Counts a work that has ended, for some callers; returns whether a turn may be due."""
        self._works -= 1
        self._callers.subtract(callers)
        self._callers = +self._callers
        return True

    def answer(self, now: float) -> None:
        """Does nothing: answers say nothing here."""

    def turned(self, seconds: float) -> None:
        """Does nothing: the time of a turn says nothing here."""
