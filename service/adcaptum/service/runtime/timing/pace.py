"""The pace of a lane: the ratio of its wall time to its computation.

The price of rows is the processor time of their batches, because a busy machine must not make
batches smaller. Callers wait in wall time, which includes other processes, Python's lock, the
folding of results and the event loop's other duties.
"""

from threading import get_ident
from typing import Final, NamedTuple

MEMORY_SECONDS: Final = 1.0
"""The computation over which the mean extends."""

MOST: Final = 20.0
"""The largest ratio of one step that enters the mean."""


class _Ended(NamedTuple):
    """The end of a thread's last step, and whether it left work for the next."""

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
        """Adds a step of the calling thread.

        The time since the thread's last step counts if that left work for this one.

        Args:
            begin: When the step began, in seconds.
            end: When it ended.
            cost: The computation of its batch, in seconds.
            more: Whether the step left work for the next.
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
        """Drops the record of the calling thread, which ends."""
        self._ended.pop(get_ident(), None)
