"""Steps of an engine core: the works to begin and to end, and the batch to evaluate."""

import threading
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from time import monotonic
from typing import Final, NamedTuple

from adcaptum.engine.scheduling.batch import Batch, Update
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.journal import BATCH, Journal
from adcaptum.service.runtime.job_payload import JobPayload
from adcaptum.service.runtime.work import Work

EngineBatch = Batch[JobPayload]
EngineUpdate = Update[JobPayload]

BEGIN_SECONDS: Final = 0.02
"""The time after which a step begins no further work before its batch: about that of a batch."""


class Stop(NamedTuple):
    """The order to end a work before it has its results.

    Attributes:
        work: The work.
        error: The error for its caller.
        waste: The reason of its wasted rows, for the metrics.
    """

    work: Work
    error: Exception
    waste: str


class Step(NamedTuple):
    """The content of one step.

    Attributes:
        arrived: The number of works that have not begun.
        stops: Works to end.
        batch: Rows to evaluate.
    """

    arrived: int
    stops: list[Stop]
    batch: EngineBatch | None


class RunningBatch(NamedTuple):
    """A batch under evaluation.

    Attributes:
        model: The model.
        begin: When it began, on the monotonic clock.
        slot: Its slot in the journal; None: it is not noted.
    """

    model: ServedModel
    begin: float
    slot: int | None = None


class RunningBatches:
    """The batches under evaluation, at most one a thread; any thread may use it."""

    def __init__(self, journal: Journal | None) -> None:
        """Prepares it.

        Args:
            journal: Where batches are noted with their requests; None: nowhere.
        """
        self._running: dict[int, RunningBatch] = {}
        self._journal = journal

    def __len__(self) -> int:
        """Returns the number of batches."""
        return len(self._running)

    def __iter__(self) -> Iterator[tuple[int, RunningBatch]]:
        """Iterates over threads and their batches as they are now."""
        return iter([*self._running.items()])

    def begin(self, model: ServedModel, batch: EngineBatch, row_seconds: float) -> None:
        """Notes that this thread evaluates a batch."""
        slot = None
        if self._journal is not None:
            ids = [each for work in works_of(batch) for each in work.ids]
            slot = self._journal.begin(BATCH, model.name, ids, batch.rows * row_seconds)
        self._running[threading.get_ident()] = RunningBatch(model, monotonic(), slot)

    def end(self) -> None:
        """Notes that this thread's batch has ended."""
        ended = self._running.pop(threading.get_ident())
        if self._journal is not None:
            self._journal.end(ended.slot)


class Arrivals:
    """The works that have not begun.

    Beginning a work may take milliseconds: a method draws noise or masks for its first round. So
    works begin in the order in which their rows would run: predictions before explanations, and
    inside a class callers take turns, each with its works in their order.
    """

    __slots__ = ("_callers", "_count")

    def __init__(self) -> None:
        # The works of each class by caller; the caller whose turn it is comes first.
        self._callers: tuple[dict[Hashable, deque[Work]], ...] = tuple({} for _ in Priority)
        self._count = 0

    def __len__(self) -> int:
        """Returns the number of works."""
        return self._count

    def add(self, work: Work) -> None:
        """Adds a work."""
        callers = self._callers[work.request.priority]
        caller = work if work.request.caller is None else work.request.caller
        callers.setdefault(caller, deque()).append(work)
        self._count += 1

    def some(self, most: int, lock: AbstractContextManager[object]) -> Iterator[Work]:
        """Takes out works one by one, for `BEGIN_SECONDS`.

        Args:
            most: The most works.
            lock: Held while one is taken out, and not while it begins.
        """
        end = monotonic() + BEGIN_SECONDS
        for _ in range(most):
            with lock:
                if not self._count:
                    return
                work = self.take()
            yield work
            if monotonic() > end:
                return

    def take(self) -> Work:
        """Takes out the work that is to begin next; there must be one."""
        callers = next(filter(None, self._callers))
        caller = next(iter(callers))
        works = callers.pop(caller)
        work = works.popleft()
        if works:
            callers[caller] = works
        self._count -= 1
        return work


def works_of(batch: EngineBatch) -> list[Work]:
    """Returns the works that have rows in a batch."""
    return list(dict.fromkeys([piece.job.payload.work for piece in batch.slices]))
