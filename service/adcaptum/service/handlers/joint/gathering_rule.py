"""The gathering rule: how many requests wait for each other, to share a turn.

A turn is the computation of all requests that have been gathered. Its fixed cost is several times
that of one more small request in it, so that it pays to wait for requests that are about to come.
How many these are cannot be seen: gRPC hands over one request at a time, and the others wait
inside it. So the rule learns it from what came while it waited.

Rules:
1. A turn begins when as many requests are there as the rule aims at, or when the first of them has
   waited for as long as a turn takes.
2. Where a wait ends because no more come, those that came are the callers around. The aim is then
   half of them: the others come while the turn runs, and the server and its callers work side by
   side. A caller that is alone never waits.
3. Where a wait ends though requests still come, the aim is what came in that time.
4. Now and then the rule waits for more than it knows of (a probe): after some
   turns, and after twice as many with each probe in vain. A probe that
   succeeds is followed by a larger one. Where a request comes right after an answer, it has been
   waiting inside gRPC, others may be too, and probes are frequent. Where requests come long after
   the last answer there are none: a trickle never waits.

No clock, thread or event loop: times come in as arguments, in seconds on any one clock.
"""

from collections.abc import Hashable, Iterable
from math import ceil
from typing import Final

SHARE: Final = 0.5
"""The share of the callers around that a turn waits for."""

GROWTH: Final = 1.5
"""The factor between a probe and the next, as long as they succeed."""

PROBE_TURNS: Final = (8, 64)
"""The fewest and the most turns from one probe to the next."""

TURN_SECONDS: Final = (0.001, 0.01)
"""The shortest and the longest wait; between them, it is as long as a turn."""

FEWEST_IN_FLOW: Final = 4
"""The fewest requests of which the gaps between them tell whether more come."""

SOON: Final = 0.3
"""The share of a turn within which a request comes after an answer if it has been waiting."""

SOONER: Final = 2
"""The factor by which probes are then more frequent."""

DOUBT: Final = 0.3
"""The part of a decrease of the callers around that one wait in vain is believed."""

NEARLY: Final = 0.05
"""The rest of a request that is none."""

MOST_GATHERED: Final = 256
"""The number of requests with which a turn begins at once."""

LEARNING: Final = 0.1
"""The weight of a new turn in the mean time of a turn."""


class GatheringRule:
    """The rule of one place where requests are gathered.

    Attributes:
        gathered: The number of requests that wait for the next turn.
        aim: The number of requests for which a turn waits.
    """

    def __init__(self) -> None:
        self.gathered = 0
        self.aim = 1
        self._known = 1.0
        self._goal = 1
        self._probing = False
        self._growing = False
        self._turns = 0
        self._interval = PROBE_TURNS[0]
        self._turn_seconds = 0.0
        self._answered = float("-inf")
        self._first = 0.0
        self._last = 0.0

    @property
    def patience(self) -> float:
        """The longest wait for others, in seconds."""
        least, most = TURN_SECONDS
        return min(max(least, self._turn_seconds), most)

    def arrive(self, now: float, asker: Hashable = None) -> None:  # noqa: ARG002 - all are one
        """Counts a request that has come."""
        if not self.gathered:
            self._first = now
            self._set_goal(now)
        self._last = now
        self.gathered += 1

    def leave(self) -> None:
        """Counts a request that waits no more, because its caller has gone."""
        self.gathered -= 1

    def due(self, now: float) -> float:
        """Returns when the next turn is to begin: a time not after `now` says at once."""
        if self.gathered >= self._goal:
            return now
        return self._first + self.patience

    def begin(self, now: float, *, sure: bool = True) -> None:
        """Learns from the wait for a turn that begins with all that have been gathered.

        Args:
            now: The time.
            sure: Whether requests could come all the time: the process may have stood still.
        """
        came, self.gathered = self.gathered, 0
        self._turns += 1
        if came >= self._goal:
            if self._probing:
                self.aim = came
                self._growing = True
            return
        if not sure:
            return
        self._growing = False
        gap = (self._last - self._first) / max(1, came - 1)
        if came >= FEWEST_IN_FLOW and now - self._last < 2 * gap:
            self.aim = max(came, ceil(self.aim * (1 - DOUBT)))
            self._known = max(self._known, came / SHARE)
            return
        least, most = PROBE_TURNS
        if self._probing and came <= self._known:
            self._interval = min(2 * self._interval, most)
        else:
            self._interval = least
        # Callers may be late together, where the machine is busy: one such wait is not believed.
        self._known += (came - self._known) * (1.0 if came > self._known else DOUBT)
        self.aim = max(1, ceil(SHARE * self._known - NEARLY))
        self._turns = 0

    def answer(self, now: float) -> None:
        """Counts a request that has been answered."""
        self._answered = now

    def turned(self, seconds: float) -> None:
        """Learns how long a turn takes, from its begin to its last answer."""
        self._turn_seconds += LEARNING * (seconds - self._turn_seconds)

    def begun(self, askers: Iterable[Hashable]) -> None:
        """Does nothing: turns are what counts."""

    def ended(self, askers: Iterable[Hashable]) -> bool:  # noqa: ARG002 - turns are what counts
        """Returns False: the end of a work makes no turn due."""
        return False

    def _next_probe(self, now: float) -> int:
        """Returns after how many turns the rule probes."""
        if now - self._answered >= SOON * self._turn_seconds:
            return self._interval
        if self._known < 2:
            # It has waited for an answer to somebody else.
            return PROBE_TURNS[0]
        return max(PROBE_TURNS[0], self._interval // SOONER)

    def _set_goal(self, now: float) -> None:
        """Decides for how many requests the coming turn waits."""
        self._probing = False
        self._goal = self.aim
        if now - self._answered > 2 * self.patience:
            return
        if self._growing:
            self._probing = True
            self._goal = ceil(GROWTH * self.aim) if self.aim > 1 else 2
        elif self._turns >= self._next_probe(now):
            self._probing = True
            self._goal = ceil(self._known) + 1
        self._goal = min(self._goal, MOST_GATHERED)
