"""The library's driver: runs one flow to its end, batch by batch, in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.execution.devices.clock import batch_clock
from adcaptum.engine.execution.devices.device_errors import is_out_of_memory
from adcaptum.engine.execution.devices.ids import check_ids
from adcaptum.engine.execution.evaluator import Model, evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.execution.training_mode import check_mode
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import FORWARD_ROWS
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import check

T = TypeVar("T")

# The best batch sizes of each model, kept as long as the model.
_batch_sizers: WeakKeyDictionary[nn.Module, BatchSizer] = WeakKeyDictionary()
_lock = Lock()

# No other caller waits here, so that only the best rate counts. But memory grows with the batch: a
# long request must not try ever larger ones that are hardly faster. Small rows take little memory,
# and gain most from large batches.
_LONGEST_BATCH_SECONDS = 0.25
_MOST_BATCH_ROWS = 256
_SMALL_BATCH_BYTES = 1 << 18
_MOST_SMALL_ROWS = 4096
# The multiple of the best batch up to which the rest is one batch: two would cost more.
_REST = 1.5
# A rest of few rows that takes less than this, also if its time grows with them, is one batch: on
# small models a batch costs more than rows, and learning the best size more than a call.
_SHORT_SECONDS = 0.005
_SHORT_ROWS = 64


def explain(
    model: Model,
    method: Method,
    explicand: Explicand,
    *,
    batch_rows: int | None = None,
    max_rows: int | None = None,
    on_progress: Callable[[Attribution], None] | None = None,
    on_rows: Callable[[int], None] | None = None,
    deterministic: bool = False,
    memory: ReferenceMemory | None = None,
) -> Attribution:
    """Explains a model with a method.

    Args:
        model: The model, in eval mode.
        method: The method with its parameters.
        explicand: The inputs, the target and the options.
        batch_rows: The rows to evaluate at once; None: the number that is measured to be fastest.
        max_rows: The most rows that the method may use in all; None: any number.
        on_progress: Called with each intermediate answer of the method.
        on_rows: Called after each batch with its number of rows.
        deterministic: Whether the answer is the same to the last bit each time, and that of a
            service on such a machine, whatever else runs and was learnt: on a CPU, with the same
            number of PyTorch's threads and the same `batch_rows`. Batches have `FORWARD_ROWS` rows
            at most where it is not given, which costs speed where larger ones are faster. On other
            devices PyTorch's deterministic kernels are used, and `NotDeterministic` is raised where
            there are none, or where the environment lacks cuBLAS' `CUBLAS_WORKSPACE_CONFIG`.
        memory: The cache of reference rows (DeepLIFT) of earlier calls with the same weights;
            deterministic answers do not use it. None: each call begins with an empty one.

    Raises:
        InvalidArgument: If a parameter is wrong, or the explicand does not fit the model.
        ModelError: If the model cannot be explained so.
        BudgetExceeded: If the method has no answer within max_rows.
    """
    if isinstance(method, str | type):
        traits = getattr(method, "traits", None)
        name = method if isinstance(method, str) else getattr(traits, "name", "saliency")
        wanted = f'an instance with its parameters, such as METHODS["{name}"]()'
        raise InvalidArgument("method", f"the {type(method).__name__} {method!r}", wanted)
    check(method)
    if not explicand.inputs[0].is_cpu:
        check_ids(model, explicand)
    return run(
        model,
        method.flow(explicand),
        batch_rows=batch_rows,
        max_rows=max_rows,
        on_progress=on_progress,
        on_rows=on_rows,
        deterministic=deterministic,
        memory=memory,
    )


def run(
    model: Model,
    flow: Flow[T],
    *,
    batch_rows: int | None = None,
    max_rows: int | None = None,
    on_progress: Callable[[Attribution], None] | None = None,
    on_rows: Callable[[int], None] | None = None,
    deterministic: bool = False,
    memory: ReferenceMemory | None = None,
) -> T:
    """Runs a flow to its end; for the arguments see `explain`."""
    forward_rows = (batch_rows or FORWARD_ROWS) if deterministic else None
    execution = FlowRun(flow, max_rows=max_rows, on_progress=on_progress, forward_rows=forward_rows)
    try:
        check_mode(model)
        batch_sizer = None if batch_rows is None else BatchSizer(fixed=batch_rows)
        round_ = execution.start()
        while not execution.done:
            try:
                if len(round_) == 1 and round_[0].rows == 1:
                    _evaluate_row(model, round_[0], on_rows, memory)
                else:
                    batch_sizer = batch_sizer or _batch_sizer_of(model)
                    for pending in _by_key(round_):
                        _evaluate_all(model, pending, batch_sizer, on_rows, memory)
            # The flow handles the error or raises it.
            except Exception as error:  # noqa: BLE001
                round_ = execution.fail(error)
            else:
                round_ = execution.advance()
        return execution.result
    finally:
        execution.close()


class _KeyDigest(NamedTuple):
    """The hash and the row size of a key, without references to modules.

    Batch sizes are kept as long as their model, and a key may hold the model itself.
    """

    hash: int
    row_bytes: int


def _batch_sizer_of(model: Model) -> BatchSizer:
    if not isinstance(model, nn.Module):
        return _new_batch_sizer()
    known = _batch_sizers.get(model)
    if known is not None:
        return known
    with _lock:
        return _batch_sizers.setdefault(model, _new_batch_sizer())


def _new_batch_sizer() -> BatchSizer:
    return BatchSizer(target_seconds=_LONGEST_BATCH_SECONDS, max_rows=_most_rows)


def _most_rows(key: Hashable) -> int:
    """Returns the most rows of a batch; more for small rows."""
    assert isinstance(key, _KeyDigest), "batches here are those of evaluations"
    small = _SMALL_BATCH_BYTES // max(1, key.row_bytes)
    return max(_MOST_BATCH_ROWS, min(small, _MOST_SMALL_ROWS))


def _by_key(round_: tuple[Pending, ...]) -> Iterable[Sequence[Pending]]:
    if len(round_) == 1:
        return (round_,)
    groups: dict[object, list[Pending]] = {}
    for pending in round_:
        groups.setdefault(pending.evaluation.key, []).append(pending)
    return groups.values()


def _evaluate_all(
    model: Model,
    group: Sequence[Pending],
    batch_sizer: BatchSizer,
    on_rows: Callable[[int], None] | None,
    memory: ReferenceMemory | None,
) -> None:
    """Evaluates every row of pending evaluations of one key."""
    if group[0].evaluation.forward_rows is not None:
        for pending in group:
            _evaluate_apart(model, pending, on_rows)
        return
    whole = group[0].evaluation.key
    key = _KeyDigest(hash(whole), whole.row_bytes)
    clock = batch_clock(group[0].evaluation.rows.like[0].device)
    waiting = [p for p in group if p.rows]
    while waiting:
        usual = batch_sizer.rows(key)
        room = most = _room(batch_sizer, key, usual, sum([p.rows - p.done for p in waiting]))
        pieces: list[RowRange] = []
        for pending in waiting:
            stop = min(pending.rows, pending.done + room)
            pieces.append(RowRange(pending.evaluation, pending.done, stop))
            room -= stop - pending.done
            if room == 0:
                break
        rows = most - room
        if memory is None and _references_return(waiting, rows):
            memory = ReferenceMemory()
        # The time of a small rest is no measurement of the chosen size.
        measured = 2 * rows > usual
        begin = clock() if measured else 0.0
        try:
            parts = evaluate(model, pieces, memory=memory)
        except (RuntimeError, MemoryError) as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
            batch_sizer.out_of_memory(key, rows)
            continue
        if measured:
            batch_sizer.observe(key, rows, clock() - begin)
        for pending, piece, part in zip(waiting, pieces, parts, strict=False):
            pending.add(piece.start, piece.stop, part)
        if on_rows is not None:
            on_rows(rows)
        waiting = [p for p in waiting if p.done < p.rows]


def _evaluate_row(
    model: Model,
    pending: Pending,
    on_rows: Callable[[int], None] | None,
    memory: ReferenceMemory | None,
) -> None:
    """Evaluates an evaluation of one row, whose batch leaves nothing to choose or to learn."""
    (part,) = evaluate(model, [RowRange(pending.evaluation, 0, 1)], memory=memory)
    pending.add(0, 1, part)
    if on_rows is not None:
        on_rows(1)


def _references_return(waiting: Sequence[Pending], rows: int) -> bool:
    """Returns whether later batches will need reference rows of the next batch, too.

    Args:
        waiting: The evaluations.
        rows: The number of their rows that are evaluated next.
    """
    left = sum([p.rows - p.done for p in waiting])
    compared = [p for p in waiting if p.evaluation.references is not None]
    return left > rows and any(p.evaluation.reference_rows < p.rows for p in compared)


def _evaluate_apart(model: Model, pending: Pending, on_rows: Callable[[int], None] | None) -> None:
    """Evaluates a pending evaluation that has forwards of its own, one forward at a time."""
    if not pending.rows:
        return
    for piece in RowRange(pending.evaluation, 0, pending.rows).forwards:
        (part,) = evaluate(model, [piece])
        pending.add(piece.start, piece.stop, part)
        if on_rows is not None:
            on_rows(len(piece))


def _room(batch_sizer: BatchSizer, key: Hashable, usual: int, left: int) -> int:
    """Returns the most rows of the next batch, which also takes a small or short rest."""
    if left <= usual or batch_sizer.fixed is not None:
        return usual
    if left > _REST * usual:
        if left > _SHORT_ROWS:
            return usual
        largest = max(batch_sizer.curve(key), key=lambda point: point.rows, default=None)
        if largest is None or largest.seconds * left > _SHORT_SECONDS * largest.rows:
            return usual
    return max(usual, min(left, batch_sizer.limit(key)))
