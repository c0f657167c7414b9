"""The queue of steps: works that have come, works that are to end, and the rows that wait."""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from time import monotonic
from typing import cast

from adcaptum.engine.scheduling.scheduler import Scheduler
from adcaptum.service.errors import DeadlineExceeded
from adcaptum.service.runtime.job_payload import JobPayload
from adcaptum.service.runtime.step import Arrivals, Step, Stop
from adcaptum.service.runtime.work import Work


class StepQueue:
    """The queue from which threads, or the event loop, take steps."""

    def __init__(
        self,
        condition: Condition,
        scheduler: Scheduler[JobPayload],
    ) -> None:
        """Prepares the queue.

        Args:
            condition: Guards the queue and the scheduler.
            scheduler: The rows that wait.
        """
        self._condition = condition
        self._scheduler = scheduler
        self._arrived = Arrivals()
        self._stops: deque[Stop] = deque()
        self._closed = False

    @property
    def arrivals(self) -> int:
        """The number of works that have not begun."""
        return len(self._arrived)

    @property
    def has_work(self) -> bool:
        """True if a step would find something to do."""
        return bool(self._arrived or self._stops or self._scheduler.waiting_rows)

    def submit(self, work: Work) -> None:
        """Adds a work; callable from the event loop."""
        with self._condition:
            self._scheduler.announce(work.request)
            self._arrived.add(work)
            self._condition.notify()

    def stop(self, work: Work, error: Exception, waste: str) -> None:
        """Ends a work that has not ended; callable from the event loop.

        Args:
            work: The work.
            error: The error for its caller.
            waste: The reason of its wasted rows: `cancelled`, `deadline` or `error`.
        """
        with self._condition:
            self._stops.append(Stop(work, error, waste))
            # Drops its waiting rows now; the next step closes its flows.
            self._scheduler.cancel(work.request)
            self._condition.notify()

    def next(self) -> Step:
        """Takes the next step; it may be empty."""
        with self._condition:
            return self._next()

    def wait(self, wanted: Callable[[], bool]) -> Step | None:
        """Waits until there is something to do, and takes the next step.

        Args:
            wanted: Returns whether the calling thread should go on; called at each wake-up.

        Returns:
            The step; None when the queue is closed or the thread should end.
        """
        with self._condition:
            while not self._closed and wanted():
                step = self._next()
                if any(step):
                    if self._scheduler.waiting_rows:
                        # Wakes one more thread, which will wake the next if rows are left.
                        self._condition.notify()
                    return step
                self._condition.wait()
        return None

    def take_lone(self) -> Work | None:
        """Takes out the work that is to begin, if there is nothing else to do."""
        with self._condition:
            if len(self._arrived) != 1 or self._stops or self._scheduler.waiting_rows:
                return None
            return self._arrived.take()

    def beginning(self, most: int) -> Iterator[Work]:
        """Takes out works that are to begin, one by one, as long as there is time for it.

        Args:
            most: The most works.
        """
        return self._arrived.some(most, self._condition)

    def wake_all(self) -> None:
        """Wakes all waiting threads, so that those that should end do so."""
        with self._condition:
            self._condition.notify_all()

    def compact(self) -> None:
        """Frees what the scheduler keeps of kinds of rows of which none wait."""
        with self._condition:
            self._scheduler.compact()

    def close(self) -> None:
        """Makes all waiting threads return, now and later."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _next(self) -> Step:
        arrived, stops = len(self._arrived), [*self._stops]
        self._stops.clear()
        now = monotonic()
        for request in self._scheduler.expired(now):
            work = cast("Work", request.name)
            if work.expires:
                late = DeadlineExceeded("the deadline came before the answer")
                stops.append(Stop(work, late, "deadline"))
        batch = None if arrived else self._scheduler.schedule(now)
        return Step(arrived, stops, batch)
