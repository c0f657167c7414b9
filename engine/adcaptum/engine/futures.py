"""The driver of forwards that answer later: runs one flow without ever waiting.

All batches of a round are begun at once. When all have answered, in whatever order, each answer is
put where its rows stand, and the flow goes on in the thread that brought the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch.futures import Future, collect_all

from adcaptum.engine.evaluator import Model, call, outputs_read
from adcaptum.engine.execution import Execution
from adcaptum.engine.flow import Flow
from adcaptum.engine.packing import Pending, Slice

T = TypeVar("T")

_Begun = list[tuple[Pending, Slice]]


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
        batch_rows: How many rows the forward sees at once, at most.
        on_rows: Called after each batch with how many rows it had.

    Returns:
        A future of what the flow returns, or of the error that ended it.

    Raises:
        Exception: What the forward raises when it is called, or the flow before its first round.
    """
    result: Future[T] = Future()
    execution = Execution(flow)

    def advance(round_: tuple[Pending, ...]) -> None:
        if not round_:
            result.set_result(execution.result)
            return
        begun: _Begun = []
        promised = []
        for pending in round_:
            for start in range(0, pending.rows, batch_rows):
                piece = Slice(pending.evaluation, start, min(start + batch_rows, pending.rows))
                answer = call(model, [piece])
                if on_rows is not None:
                    _after(answer, on_rows, len(piece))
                begun.append((pending, piece))
                promised.append(answer)
        collect_all(promised).add_done_callback(lambda done: land(begun, done))

    def land(begun: _Begun, done: Future[list[Future[object]]]) -> None:
        try:
            for (pending, piece), answer in zip(begun, done.value(), strict=True):
                (part,) = outputs_read(answer.value(), [piece])
                pending.add(piece.start, piece.stop, part)
            advance(execution.advance())
        except Exception as error:  # noqa: BLE001 - whoever waits for the result is told
            execution.close()
            result.set_exception(error)  # type: ignore[arg-type] # torch annotates it wrongly

    try:
        advance(execution.start())
    except BaseException:
        execution.close()
        raise
    return result


def _after(answer: Future[object], on_rows: Callable[[int], None], rows: int) -> None:
    answer.add_done_callback(lambda _: on_rows(rows))
