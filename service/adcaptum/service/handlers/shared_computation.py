"""A shared computation: one work, and the identical requests that wait for it.

Rules:
1. A computation lasts as long as somebody waits: when the last waiter leaves, its work is
   cancelled. The first request may leave, and the others lose nothing.
2. Each waiter has its own deadline. The engine uses that of the first for the order of rows only.
   At its deadline a waiter takes the best answer so far, if it accepts one.
3. No request joins a computation of a class behind its own, which might never finish.
4. An answer that a deadline cut short goes to its waiter only: it is neither shared nor kept.
   Errors are not kept either.

For the event loop only.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from operator import is_not
from typing import Final

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.handlers.waiter import Terms, Waiter
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb

PieceAttributions = list[tuple[Piece, Attribution]]

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
        partial: The message of the progress so far, once a waiter has written it.
        revision: The number of times that the best answers so far have changed.
        writing: Held while a thread writes a large answer, which happens once.
    """

    __slots__ = (
        "_cancel", "_ended", "_seen", "_waiters", "parsed", "partial", "plan", "revision",
        "stored", "work", "writing",
    )  # fmt: skip

    def __init__(
        self,
        parsed: ParsedRequest,
        plan: Explanation,
        work: Work,
        *,
        cancel: Callable[[Work, str], None],
        ended: Callable[["SharedComputation"], None],
    ) -> None:
        """Makes the computation of a work.

        Args:
            parsed: The request.
            plan: The stages of its computation.
            work: The work that the engine runs for it.
            cancel: Cancels the work, with a reason for the metrics.
            ended: Called when no further request may join.
        """
        self.parsed = parsed
        self.plan = plan
        self.work = work
        self.stored: bytes | None = None
        self.partial: pb.Partial | None = None
        self.revision = 0
        self.writing = asyncio.Lock()
        self._seen: list[Attribution] = []
        self._cancel = cancel
        self._ended = ended
        self._waiters: dict[Waiter, None] = {}
        work.progressed = self._progressed
        work.finished.add_done_callback(self._finished)

    @property
    def rows(self) -> int:
        """The expected number of rows."""
        return max(self.work.cost.total_rows, self.work.rows_done)

    @property
    def large(self) -> bool:
        """True if writing its answer takes too long for the event loop."""
        parsed, nbytes = self.parsed, self.parsed.nbytes
        count = len(parsed.methods) * parsed.choice.count * parsed.inputs.count
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

    def best(self) -> PieceAttributions | None:
        """Returns the best answers so far, cut short; None if one is missing."""
        found = self.so_far()
        return found if found and len(found) == len(self.plan.pieces) else None

    def so_far(self) -> PieceAttributions:
        """Returns the best answers so far of the flows that have one."""
        found: PieceAttributions = []
        for flow in self.work.running:
            piece, execution = flow.about, flow.execution
            if not isinstance(piece, Piece):
                continue
            if execution.done:
                found.append((piece, execution.result))
            elif (best := execution.best) is not None:
                found.append((piece, replace(best, stop_reason=StopReason.DEADLINE)))
        return found

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
        self.partial = None
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
