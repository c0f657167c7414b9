"""The driver of forwards that return futures: runs one flow without waiting.

All batches of a round begin at once. When all have answered, in any order, the flow goes on in the
thread of the last answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

import torch
from torch.futures import Future

from adcaptum.engine.execution.evaluator import Model, call, outputs_read
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.vocabulary.flow import Flow

S = TypeVar("S")
T = TypeVar("T")


def run_later(
    model: Model,
    flow: Flow[T],
    *,
    batch_rows: int,
    on_rows: Callable[[int], None] | None = None,
) -> Future[T]:
    """Runs a flow of evaluations that read outputs only.

    Args:
        model: A forward that gives a future of its output.
        flow: The flow; it is closed at its end.
        batch_rows: The most rows of a call of the forward.
        on_rows: Called after each batch with its number of rows.

    Returns:
        A future of what the flow returns, or of the error that ended it.

    Raises:
        Exception: What the forward raises when it is called, or the flow before its first round.
    """
    return _Run(model, flow, batch_rows, on_rows).begun()


def following(answer: torch.Future[T], use: Callable[[T], S]) -> Future[S]:
    """Returns a future of a function of another's value; errors keep their types.

    `Future.then` turns them into RuntimeErrors.
    """
    result: Future[S] = Future()

    def follow(_: object) -> None:
        try:
            # The future that is handed over has lost the type of its error.
            made = use(answer.value())
        except Exception as error:  # noqa: BLE001 - the result has the error
            result.set_exception(error)  # type: ignore[arg-type] # torch annotates it wrongly
        else:
            result.set_result(made)

    answer.add_done_callback(follow)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """A batch that the forward was called with."""

    pending: Pending
    piece: RowRange
    answer: torch.Future[object]


class _Run(Generic[T]):
    """A flow that runs: each round begins when the last batch of the one before has answered."""

    def __init__(
        self,
        model: Model,
        flow: Flow[T],
        batch_rows: int,
        on_rows: Callable[[int], None] | None,
    ) -> None:
        self._model = model
        self._execution = FlowRun(flow)
        self._batch_rows = batch_rows
        self._on_rows = on_rows
        self._result: Future[T] = Future()
        self._batches: list[_Batch] = []
        self._waiting = 0
        self._error: Exception | None = None
        self._lock = Lock()

    def begun(self) -> Future[T]:
        """Begins the first round."""
        try:
            self._ask(self._execution.start())
        except BaseException:
            self._execution.close()
            raise
        return self._result

    def _ask(self, round_: tuple[Pending, ...]) -> None:
        while self._execution.paused:
            round_ = self._execution.advance()
        if self._execution.done:
            self._result.set_result(self._execution.result)
            return
        self._batches = [self._call(pending, start) for pending, start in self._starts(round_)]
        self._waiting = len(self._batches)
        for batch in self._batches:
            rows = len(batch.piece)
            batch.answer.add_done_callback(lambda _, rows=rows: self._answered(rows))

    def _starts(self, round_: tuple[Pending, ...]) -> list[tuple[Pending, int]]:
        return [(p, start) for p in round_ for start in range(0, p.rows, self._batch_rows)]

    def _call(self, pending: Pending, start: int) -> _Batch:
        stop = min(start + self._batch_rows, pending.rows)
        piece = RowRange(pending.evaluation, start, stop)
        return _Batch(pending, piece, call(self._model, [piece]))

    def _answered(self, rows: int) -> None:
        with self._lock:
            try:
                if self._on_rows is not None:
                    self._on_rows(rows)
            except Exception as error:  # noqa: BLE001 - raised at the result
                self._error = self._error or error
            self._waiting -= 1
            last = self._waiting == 0
        if last:
            self._land()

    def _land(self) -> None:
        if self._error is not None:
            self._fail(self._error)
            return
        try:
            for batch in self._batches:
                (part,) = outputs_read(batch.answer.value(), [batch.piece])
                batch.pending.add(batch.piece.start, batch.piece.stop, part)
            self._ask(self._execution.advance())
        except Exception as error:  # noqa: BLE001 - the result has the error
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._execution.close()
        self._result.set_exception(error)  # type: ignore[arg-type] # torch annotates it wrongly
