"""The pace of a lane: how much longer its work takes than the computation that it consists of.

Rows are priced by the processor time of their batches, because a busy machine must not make batches
smaller. What callers wait for is wall time: other processes, Python's lock, the folding of results
and the event loop's other duties are in it.
"""

from threading import get_ident
from typing import Final, NamedTuple

MEMORY_SECONDS: Final = 1.0
"""The computation that the mean goes back."""

MOST: Final = 20.0
"""The slowest pace that counts."""


class _Ended(NamedTuple):
    """The last step of a thread: when it ended, and whether work was left for the next."""

    at: float
    more: bool


class Pace:
    """The mean of wall time over computation, weighted by computation.

    Attributes:
        value: The mean, at least 1.
    """

    def __init__(self) -> None:
        self.value = 1.0
        self._ended: dict[int, _Ended] = {}

    def observe(self, begin: float, end: float, cost: float, *, more: bool) -> None:
        """Learns from a step of the calling thread.

        The time since its last step counts if there was work left for this one.

        Args:
            begin: When the step began, in seconds.
            end: When it ended.
            cost: The computation of its batch, in seconds.
            more: Whether it has left work for the next step.
        """
        thread = get_ident()
        before = self._ended.get(thread)
        self._ended[thread] = _Ended(end, more)
        if cost <= 0:
            return
        since = before.at if before is not None and before.more else begin
        ratio = min(MOST, max(1.0, (end - since) / cost))
        self.value += (ratio - self.value) * min(1.0, cost / MEMORY_SECONDS)

    def forget(self) -> None:
        """Drops what is known of the calling thread, which ends."""
        self._ended.pop(get_ident(), None)
