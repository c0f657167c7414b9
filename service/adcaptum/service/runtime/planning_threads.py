"""Planning threads: the long mathematics of methods, apart from the threads that run batches.

A surrogate's regression over thousands of features takes seconds. In a device thread it would hold
up predictions; planning threads run the flows of such works instead.

Rules:
1. The tasks of a work run one at a time, in the order of their arrival.
2. A long task pauses: it queues its rest behind the work's other tasks, such as a cancellation, and
   other works have their turn.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from adcaptum.service import logs
from adcaptum.service.runtime.work import Work

THREADS: Final = 2
"""The number of planning threads: beside one long regression, one is free for other works."""

Task = Callable[[], None]


class PlanningThreads:
    """A pool of threads that run tasks of works; it starts them with the first task."""

    def __init__(self, crashed: Callable[[BaseException], None], threads: int = THREADS) -> None:
        """Prepares the pool.

        Args:
            crashed: Called, in the thread, if a task raises: a fault of the service.
            threads: The number of threads.
        """
        self._crashed = crashed
        self._number = threads
        self._condition = threading.Condition()
        self._tasks: dict[Work, deque[Task]] = {}
        self._ready: deque[Work] = deque()
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def put(self, work: Work, task: Task) -> None:
        """Adds a task of a work; callable from any thread."""
        with self._condition:
            if self._stopping:
                return
            if not self._threads:
                self._start()
            waiting = self._tasks.get(work)
            if waiting is None:
                waiting = self._tasks[work] = deque()
                self._ready.append(work)
                self._condition.notify()
            waiting.append(task)

    def stop(self, seconds: float) -> bool:
        """Ends the threads after their tasks; tasks that wait are dropped.

        Args:
            seconds: The longest wait for them.

        Returns:
            Whether all have ended.
        """
        with self._condition:
            self._stopping = True
            self._ready.clear()
            self._tasks.clear()
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._run, name=f"planning-{index}", daemon=True)
            for index in range(self._number)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        try:
            while self._run_next():
                pass
        except BaseException as error:
            logs.logger().exception("a planning thread failed")
            self._crashed(error)
            raise

    def _run_next(self) -> bool:
        """Waits for a task and runs it; returns False when the pool stops."""
        with self._condition:
            self._condition.wait_for(lambda: self._ready or self._stopping)
            if self._stopping:
                return False
            work = self._ready.popleft()
            task = self._tasks[work].popleft()
        task()
        with self._condition:
            if self._tasks.get(work):
                self._ready.append(work)
                self._condition.notify()
            else:
                self._tasks.pop(work, None)
        return True
