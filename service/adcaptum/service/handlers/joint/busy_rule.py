"""The busy rule: requests wait for each other while the device computes for their callers anyway.

Nothing is learnt, and nobody waits for requests that may not come:
1. A turn begins at once if no work runs, or if a request is of a caller and a class (an asker) for
   whom none runs.
2. Otherwise it begins when all works have ended, or when the first request has waited for as long
   as a batch may take: the rows of a work keep the device busy.

No clock, thread or event loop: times come in as arguments, in seconds on any one clock.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final

MOST_SECONDS: Final = 0.025
"""The longest wait, about a batch."""


class BusyRule:
    """The rule of a place where works run beside the event loop."""

    def __init__(self) -> None:
        self._works = 0
        self._askers = Counter[Hashable]()
        self._first = 0.0
        self._waiting = 0
        self._at_once = False

    def arrive(self, now: float, asker: Hashable) -> None:
        """Counts a request that has come.

        Args:
            now: The time.
            asker: Its caller and its class.
        """
        if not self._waiting:
            self._first = now
        self._waiting += 1
        self._at_once |= not self._askers[asker]

    def leave(self) -> None:
        """Counts a request that waits no more, because its caller has gone."""
        self._waiting -= 1

    def due(self, now: float) -> float:
        """Returns when the next turn is to begin: a time not after `now` says at once."""
        if self._at_once or not self._works:
            return now
        return self._first + MOST_SECONDS

    def begin(self, now: float, *, sure: bool = True) -> None:  # noqa: ARG002 - nothing is learnt
        """Notes that a turn begins with all that have been gathered."""
        self._waiting = 0
        self._at_once = False

    def begun(self, askers: Iterable[Hashable]) -> None:
        """Counts a work that has begun, for some askers."""
        self._works += 1
        self._askers.update(askers)

    def ended(self, askers: Iterable[Hashable]) -> bool:
        """Counts a work that has ended, for some askers; returns whether the next turn is due."""
        self._works -= 1
        self._askers.subtract(askers)
        self._askers = +self._askers
        return not self._works

    def answer(self, now: float) -> None:
        """Does nothing: answers say nothing here."""

    def turned(self, seconds: float) -> None:
        """Does nothing: the time of a turn says nothing here."""
