"""The costs of requests, learnt from those that workers have answered.

A worker reports the seconds of its device that an answer took. Requests of one question and of
inputs about as large are expected to take as long; for a new question the requests of its model
stand in.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

UNKNOWN_SECONDS: Final = 0.01
"""The expected cost of requests of which nothing is known."""

LEAST_SECONDS: Final = 0.0005
"""The least expected cost: that of the way through a worker."""

NEWEST: Final = 0.25
"""The weight of the newest report."""

MOST: Final = 4096
"""The most costs that are kept; the ones longest unused go first."""


class Costs:
    """The expected seconds of requests."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, float] = OrderedDict()

    def expected(self, kinds: Sequence[Hashable]) -> float:
        """Returns the seconds of a device that a request is expected to take.

        Args:
            kinds: What it is an example of, from the narrowest kind to the widest.
        """
        for kind in kinds:
            found = self._known.get(kind)
            if found is not None:
                self._known.move_to_end(kind)
                return max(LEAST_SECONDS, found)
        return UNKNOWN_SECONDS

    def learn(self, kinds: Sequence[Hashable], seconds: float) -> None:
        """Notes the seconds that a request has taken.

        Args:
            kinds: See `expected`.
            seconds: The seconds.
        """
        for kind in kinds:
            before = self._known.get(kind, seconds)
            self._known[kind] = before + NEWEST * (seconds - before)
            self._known.move_to_end(kind)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
