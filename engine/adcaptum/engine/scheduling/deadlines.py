"""A heap of the requests that have rows pending, by deadline."""

from heapq import heapify, heappop, heappush
from itertools import count

from adcaptum.engine.scheduling.request import Request


class Deadlines:
    """Finds the requests whose deadline has passed, without looking at the others.

    A request that has ended stays until its deadline, or until more have ended than are left.
    """

    __slots__ = ("_heap", "_serials")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Request]] = []
        self._serials = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, request: Request, pending: int) -> None:
        """Watches a request, one of `pending` that have rows pending."""
        if request.deadline is None or request.timed or request.overdue:
            return
        request.timed = True
        heappush(self._heap, (request.deadline, next(self._serials), request))
        if len(self._heap) > 2 * pending + 32:
            kept = [entry for entry in self._heap if _watched(entry[2])]
            for _, _, other in self._heap:
                other.timed = _watched(other)
            self._heap = kept
            heapify(kept)

    def passed(self, now: float) -> list[Request]:
        """Returns the requests with rows pending whose deadline has passed, each once."""
        overdue = []
        while self._heap and self._heap[0][0] <= now:
            _, _, request = heappop(self._heap)
            request.timed = False
            if _watched(request):
                request.overdue = True
                overdue.append(request)
        return overdue


def _watched(request: Request) -> bool:
    return request.pending_rows > 0 and not request.cancelled
