"""Computations under way, and those who wait for them: requests that ask the same share one.

Rules:
1. A flight lasts as long as somebody waits: the last one that leaves has its work stopped. So
   whoever was first may go away, and nothing is lost for the others.
2. Everybody has a deadline of their own. The engine takes that of the first for the order of rows
   only; each one's clock is watched here, and at its end each one takes the best answer so far, or
   none.
3. Nobody joins a flight of a class behind its own: there it could wait for ever.
4. Answers that a deadline cut short are the one's whose deadline it was: they are neither shared
   nor kept, and nor are errors kept.

All of it happens in the event loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, NamedTuple

from torch import Tensor

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.requests.parsed_request import ParsedRequest, Piece
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb

Answered = list[tuple[Piece, Attribution]]


class Terms(NamedTuple):
    """What one who waits has asked for.

    Attributes:
        priority: The class.
        due: When an answer is wanted, on the monotonic clock; None: at the end.
        partial: Whether the best answer so far will do then.
        stream: Whether there shall be news on the way.
    """

    priority: Priority
    due: float | None
    partial: bool
    stream: bool


class Waiter:
    """One who waits for a flight.

    Attributes:
        flight: The flight.
        joined: Whether it was under way when this one came.
        terms: What this one has asked for.
        overdue: Whether this one's deadline has come.
        news: Set when there are some: the flight's end, the deadline, progress.
    """

    __slots__ = ("_clock", "flight", "joined", "news", "overdue", "terms")

    def __init__(self, flight: "SharedComputation", terms: Terms, *, joined: bool) -> None:
        self.flight = flight
        self.joined = joined
        self.terms = terms
        self.overdue = False
        self.news = asyncio.Event()
        self._clock: asyncio.TimerHandle | None = None
        if terms.due is not None:
            loop = asyncio.get_running_loop()
            self._clock = loop.call_later(max(0.0, terms.due - monotonic()), self._strike)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.overdue or self.flight.work.finished.done()

    async def end(self) -> None:
        """Waits until it is over."""
        while not self.over:
            await self.news.wait()
            self.news.clear()

    def leave(self, reason: str) -> None:
        """Waits no longer.

        Args:
            reason: For the metrics, if nobody else waits: `cancelled` or `deadline`.
        """
        if self._clock is not None:
            self._clock.cancel()
        self.flight.left(self, "deadline" if self.overdue else reason)

    def _strike(self) -> None:
        self.overdue = True
        self.news.set()


class SharedComputation:
    """A computation under way.

    Attributes:
        question: What is asked.
        plan: The same for the engine.
        work: The engine's share of it.
        rows: How many rows it is expected to take.
        stored: The answer's bytes, once somebody has written it.
    """

    __slots__ = (
        "_ended",
        "_partial",
        "_stop",
        "_waiters",
        "plan",
        "question",
        "rows",
        "stored",
        "work",
    )

    def __init__(
        self,
        question: ParsedRequest,
        plan: Explanation,
        work: Work,
        rows: int,
        *,
        stop: Callable[[Work, str], None],
        ended: Callable[["SharedComputation"], None],
    ) -> None:
        """Takes a work that has been submitted.

        Args:
            question: What is asked.
            plan: The same for the engine.
            work: The engine's share of it.
            rows: How many rows it is expected to take.
            stop: Has the work stopped, for a reason.
            ended: Called once, when nobody may join any more.
        """
        self.question = question
        self.plan = plan
        self.work = work
        self.rows = rows
        self.stored: bytes | None = None
        self._stop = stop
        self._ended = ended
        self._waiters: set[Waiter] = set()
        self._partial: pb.Partial | None = None
        work.progressed = self._progressed
        work.finished.add_done_callback(self._finished)

    def join(self, terms: Terms, *, joined: bool = True) -> Waiter:
        """Has one more wait.

        Args:
            terms: What it has asked for.
            joined: Whether the flight was under way.
        """
        waiter = Waiter(self, terms, joined=joined)
        self._waiters.add(waiter)
        return waiter

    def left(self, waiter: Waiter, reason: str) -> None:
        """Has one fewer wait."""
        self._waiters.discard(waiter)
        if not self._waiters and not self.work.finished.done():
            self._ended(self)
            self._stop(self.work, reason)

    def best(self) -> Answered | None:
        """Returns the best answers so far, cut short; None if one is missing."""
        found = self._so_far()
        return found if found and len(found) == len(self.plan.pieces) else None

    def partial(self, write: Callable[[ParsedRequest, Answered], list[Any]]) -> pb.Partial:
        """Returns how far it is, written once for all who wait."""
        if self._partial is None:
            done = self.work.rows_done
            self._partial = pb.Partial(
                rows_done=done,
                rows=max(self.rows, done),
                explanations=write(self.question, self._so_far()),
            )
        return self._partial

    @property
    def outputs(self) -> Tensor | None:
        """What the model says of the inputs, if it was asked for and is known."""
        if self.plan.outputs is not None:
            return self.plan.outputs
        for each in self.work.running:
            if each.about is None and each.execution.done:
                outputs: Tensor = each.execution.result.values
                return outputs
        return None

    def _so_far(self) -> Answered:
        found: Answered = []
        for each in self.work.running:
            piece, execution = each.about, each.execution
            if not isinstance(piece, Piece):
                continue
            if execution.done:
                found.append((piece, execution.result))
            elif (best := execution.best) is not None:
                found.append((piece, replace(best, stop_reason=StopReason.DEADLINE)))
        return found

    def _progressed(self) -> None:
        self._partial = None
        for waiter in self._waiters:
            if waiter.terms.stream:
                waiter.news.set()

    def _finished(self, _: object) -> None:
        self._ended(self)
        for waiter in self._waiters:
            waiter.news.set()


class SharedComputations:
    """Finds answers and computations by what they are about.

    Attributes:
        cache: The answers that are kept.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self.cache = cache
        self._flights: dict[bytes, SharedComputation] = {}

    def find(self, key: bytes | None, priority: Priority) -> SharedComputation | None:
        """Returns a flight that somebody of a class may join; without a key there is none."""
        flight = None if key is None else self._flights.get(key)
        if flight is None or flight.work.request.priority > priority:
            return None
        return flight

    def add(self, key: bytes | None, flight: SharedComputation) -> None:
        """Lets a flight be found until it has ended; without a key it cannot be."""
        if key is not None:
            self._flights[key] = flight

    def remove(self, key: bytes | None, flight: SharedComputation) -> None:
        """Lets it be found no longer."""
        if key is not None and self._flights.get(key) is flight:
            del self._flights[key]
