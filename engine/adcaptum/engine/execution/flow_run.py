"""The run of one flow: its rounds, its budget and its best answer so far.

Rules:
1. `start` and `advance` return the pending evaluations of the next round. Without any the flow is
   either `done`, and has a `result`, or `paused`: `advance` resumes it.
2. The driver calls `advance` when every evaluation of the round is complete.
3. The run closes its flow once: at its end, at `stop`, at `fail` or at `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, ended
from adcaptum.engine.vocabulary.flow import Flow, Progress, Round

T = TypeVar("T")


class FlowRun(Generic[T]):
    """The run of one flow.

    Attributes:
        pending: The evaluations of the current round.
        rows_used: The rows of all rounds so far, the current one included.
        best: The best answer so far, if the flow has reported one.
        done: Whether the flow has ended with a result.
    """

    __slots__ = (
        "_flow", "_forward_rows", "_max_rows", "_on_progress", "_result", "best", "done", "pending",
        "rows_used",
    )  # fmt: skip

    def __init__(
        self,
        flow: Flow[T],
        *,
        max_rows: int | None = None,
        on_progress: Callable[[Attribution], None] | None = None,
        forward_rows: int | None = None,
    ) -> None:
        """Prepares the run of a flow.

        Args:
            flow: The flow; this object closes it.
            max_rows: The most rows that it may use; None: any number.
            on_progress: Called with each answer that the flow reports on its way.
            forward_rows: The most rows of a forward, all of them of one evaluation: then the bits
                of the answer depend on nothing else. None: as many as come together.
        """
        self._flow = flow
        self._forward_rows = forward_rows
        self._max_rows = max_rows
        self._on_progress = on_progress
        self._result: T | Attribution | None = None
        self.pending: tuple[Pending, ...] = ()
        self.rows_used = 0
        self.best: Attribution | None = None
        self.done = False

    def start(self) -> tuple[Pending, ...]:
        """Runs the flow to its first round."""
        return self._step(self._flow.__next__)

    def advance(self) -> tuple[Pending, ...]:
        """Hands the flow the readings of its round and runs it to the next."""
        readings = tuple([p.reading() for p in self.pending])
        return self._step(partial(self._flow.send, readings))

    def fail(self, error: BaseException) -> tuple[Pending, ...]:
        """Throws a failed evaluation's error into the flow, which may raise it or go on."""
        return self._step(partial(self._flow.throw, error))

    def stop(self, reason: StopReason) -> bool:
        """Ends the flow with its best answer so far; False, without ending it, if there is none."""
        if self.best is None:
            return False
        self._end(ended(self.best, reason))
        return True

    def close(self) -> None:
        """Ends the flow without a result."""
        self.pending = ()
        self._flow.close()

    @property
    def rows_done(self) -> int:
        """The rows that have been evaluated, those of the current round included."""
        waiting = 0
        for each in self.pending:
            waiting += each.rows - each.done
            # References are evaluated with the rows.
            waiting += 0 if each.done else each.evaluation.reference_rows
        return max(0, self.rows_used - waiting)

    @property
    def paused(self) -> bool:
        """True if the flow waits only for `advance`: its own mathematics comes next."""
        return not self.pending and not self.done

    @property
    def result(self) -> T:
        """The flow's return value, or its best answer if it was stopped."""
        assert self.done, "the flow has ended"
        result = self._result
        if isinstance(result, Attribution):
            result = result.with_rows(self.rows_used)
        # The best answer of a stopped flow is an Attribution, and so is T.
        return result  # type: ignore[return-value]

    def _step(self, resume: Callable[[], Round | Progress]) -> tuple[Pending, ...]:
        self.pending = ()
        try:
            asked = resume()
            while isinstance(asked, Progress):
                self._report(asked.attribution)
                asked = self._flow.send(())
        except StopIteration as stop:
            self._end(stop.value)
            return ()
        if self._forward_rows is not None:
            asked = tuple([each.apart(self._forward_rows) for each in asked])
        pending = tuple([Pending(evaluation) for evaluation in asked])
        rows = sum([p.rows + p.evaluation.reference_rows for p in pending])
        if self._max_rows is not None and self.rows_used + rows > self._max_rows:
            if self.stop(StopReason.BUDGET):
                return ()
            self.close()
            raise BudgetExceeded(self.rows_used + rows, self._max_rows)
        self.rows_used += rows
        self.pending = pending
        return pending

    def _report(self, attribution: Attribution) -> None:
        self.best = replace(attribution, rows_used=self.rows_used)
        if self._on_progress is not None:
            self._on_progress(self.best)

    def _end(self, result: T | Attribution) -> None:
        self._result = result
        self.done = True
        self.close()
