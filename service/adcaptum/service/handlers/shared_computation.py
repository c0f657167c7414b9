"""A shared computation: one work, and the identical requests that wait for it.

Rules:
1. A computation lasts as long as somebody waits: when the last waiter leaves, its work is
   cancelled. The first request may leave, and the others lose nothing.
2. Each waiter has its own deadline. The engine uses that of the first for the order of rows only.
   At its deadline a waiter takes the best answer so far, if it accepts one.
3. No request joins a computation of a class behind its own, which might never finish.
4. An answer that a deadline cut short goes to its waiter only: it is neither shared nor kept.
   Errors are not kept either, nor is an answer in which a method failed: each waiter gets one of
   its own.

For the event loop only.
"""

import asyncio
from collections.abc import Callable
from operator import is_not
from time import monotonic
from typing import Final

from torch import Tensor

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, ended
from adcaptum.service.answers.outcome import MethodFailure, Outcome
from adcaptum.service.errors import DeadlineExceeded
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.waiter import Terms, Waiter
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb

LARGE_COUNT: Final = 64
"""The number of explanations from which on an answer is large; writing one takes 20 µs."""

LARGE_BYTES: Final = 1 << 20
"""The bytes from which on an answer is large."""


class SharedComputation:
    """A running computation, with its waiters.

    Attributes:
        parsed: The request that it answers.
        plan: Its stages.
        work: The work that the engine runs for it.
        stored: The answer's bytes, once a waiter has written it.
        progress: The message of the progress so far, once a waiter has written it.
        revision: The number of times that the best answers so far have changed.
        writing: Held while a thread writes a large answer, which happens once.
    """

    __slots__ = (
        "_cancel", "_ended", "_expected_end", "_seen", "_waiters", "parsed", "plan", "progress",
        "revision", "stored", "work", "writing",
    )  # fmt: skip

    def __init__(
        self,
        parsed: ParsedRequest,
        plan: ExplanationPlan,
        work: Work,
        *,
        cancel: Callable[[Work, str], None],
        ended: Callable[["SharedComputation"], None],
        seconds: float,
    ) -> None:
        """Makes the computation of a work.

        Args:
            parsed: The request.
            plan: The stages of its computation.
            work: The work that the engine runs for it.
            cancel: Cancels the work, with a reason for the metrics.
            ended: Called when no further request may join.
            seconds: The seconds that it is expected to take.
        """
        self.parsed = parsed
        self.plan = plan
        self.work = work
        self.stored: bytes | None = None
        self.progress: pb.Progress | None = None
        self.revision = 0
        self.writing = asyncio.Lock()
        self._seen: list[Attribution] = []
        self._cancel = cancel
        self._ended = ended
        self._expected_end = monotonic() + seconds
        self._waiters: dict[Waiter, None] = {}
        work.progressed = self._progressed
        work.finished.add_done_callback(self._finished)

    @property
    def priority(self) -> Priority:
        """Its class."""
        return self.work.request.priority

    @property
    def joinable(self) -> bool:
        """True: its answer is every waiter's, until it is removed from the registry."""
        return True

    @property
    def rows(self) -> int:
        """The expected number of rows."""
        return max(self.work.cost.total_rows, self.work.rows_done)

    @property
    def large(self) -> bool:
        """True if writing its answer takes too long for the event loop."""
        parsed, nbytes = self.parsed, self.parsed.nbytes
        count = len(parsed.methods) * parsed.targets.count * parsed.inputs.count
        return count > LARGE_COUNT or nbytes > LARGE_BYTES or parsed.layer is not None

    def join(self, terms: Terms, *, joined: bool = True) -> Waiter:
        """Adds a waiter.

        Args:
            terms: The terms on which it waits.
            joined: Whether the computation was running before.
        """
        waiter = Waiter(self.work.finished, terms, joined=joined)
        self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: Waiter, reason: str) -> None:
        """Removes a waiter; cancels the computation if it was the last.

        Args:
            waiter: The waiter.
            reason: For the metrics, if it was the last: `cancelled` or `deadline`.
        """
        waiter.close()
        self._waiters.pop(waiter, None)
        if not self._waiters and not self.work.finished.done():
            self._ended(self)
            self._cancel(self.work, "deadline" if waiter.overdue else reason)

    def best(self) -> Outcome:
        """Returns the best answers so far, cut short; a method of which one is missing failed."""
        so_far, late = self.so_far(), DeadlineExceeded("the deadline came before the answer")
        failures = dict(so_far.failures)
        for index in range(len(self.parsed.methods)):
            planned = [each for each in self.plan.pieces if each.method == index]
            if not planned or len(so_far.of(index)) < len(planned):
                failures.setdefault(index, MethodFailure(late, self._rows_used(index)))
        found = [each for each in so_far.attributions if each[0].method not in failures]
        return Outcome(found, failures)

    def so_far(self) -> Outcome:
        """Returns the best answers so far of the flows that have one, and the failures so far."""
        found: list[tuple[Piece, Attribution]] = []
        failures = self.plan.unsupported()
        for flow in self.work.running:
            piece, execution = flow.about, flow.execution
            if not isinstance(piece, Piece):
                continue
            if flow.error is not None:
                error = self.plan.error_of(flow.error)
                failures[piece.method] = MethodFailure(error, self._rows_used(piece.method))
            elif execution.done:
                found.append((piece, execution.result))
            elif (best := execution.best) is not None:
                found.append((piece, ended(best, StopReason.DEADLINE)))
        return Outcome([each for each in found if each[0].method not in failures], failures)

    @property
    def remaining_seconds(self) -> float | None:
        """The seconds that it is expected to take from now on; None: unknown."""
        done, begun = self.work.rows_done, self.work.request.scheduled_at
        if done >= self.work.cost.total_rows:
            return None
        now = monotonic()
        if not done or begun is None:
            return max(0.0, self._expected_end - now)
        return remaining_seconds(
            now - begun, done, self.work.cost.total_rows, max(0.0, self._expected_end - begun)
        )

    def _rows_used(self, method: int) -> int:
        own = [
            flow.execution.rows_done
            for flow in self.work.running
            if isinstance(flow.about, Piece) and flow.about.method == method
        ]
        return sum(own)

    @property
    def outputs(self) -> Tensor | None:
        """The model's outputs for the inputs, if requested and known."""
        if self.plan.outputs is not None:
            return self.plan.outputs
        for flow in self.work.running:
            if flow.about is None and flow.execution.done:
                outputs: Tensor = flow.execution.result.values
                return outputs
        return None

    def _progressed(self) -> None:
        self.progress = None
        seen = [flow.execution.best for flow in self.work.running if flow.execution.best]
        if len(seen) != len(self._seen) or any(map(is_not, seen, self._seen)):
            self._seen = seen
            self.revision += 1
        for waiter in self._waiters:
            if waiter.terms.stream:
                waiter.news.set()

    def _finished(self, _: object) -> None:
        self._ended(self)
        for waiter in self._waiters:
            waiter.news.set()


def remaining_seconds(elapsed: float, done: int, rows: int, forecast: float) -> float:
    """Returns the seconds that the rest of some rows is expected to take.

    The first rows say little of the time of a row, because they came with a whole batch: the
    forecast counts as long as most rows are left, then the time that rows have taken.

    Args:
        elapsed: The seconds that the rows so far have taken.
        done: Their number.
        rows: The number of all rows.
        forecast: The seconds that all rows were expected to take.
    """
    weight = 1 - done / rows
    row_seconds = (elapsed + weight * forecast) / (done + weight * rows)
    return (rows - done) * row_seconds
