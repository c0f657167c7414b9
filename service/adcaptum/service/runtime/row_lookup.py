"""Rows of a work that need not be evaluated: their outputs are known, or on their way.

Rules:
1. Only rows that are examples or baselines as they were given, and few: to hash thousands of
   perturbed rows would cost more than it saves. Among others they are looked for where a row costs
   enough; an evaluation that has no others may save its batch.
2. Only outputs of the model as a whole are read, nothing inside it, no rule on operations, no
   gradient that counts; and only of models whose answers to a row depend on nothing else, for
   answers that need not be the same to the last bit.
3. A row that another flow of the work has asked for is waited for. Who waits began its round
   later than whom it waits for, so that nobody waits in a circle.
4. Whoever calls this holds the work's lock.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from torch import Tensor

from adcaptum.engine.execution.packing import Pending
from adcaptum.engine.rows.sources import MOST_PLAIN, Plain
from adcaptum.engine.vocabulary.evaluation import Evaluation, Output
from adcaptum.service.models.output_cache import OutputCache, chosen, row_key
from adcaptum.service.models.served_model import ServedModel

if TYPE_CHECKING:
    from adcaptum.service.runtime.work import Running

LOOK_SECONDS: Final = 50e-6
"""What it takes to look for a row among others, and to evaluate these without it."""

BYTE_SECONDS: Final = 2e-9
"""What it takes to hash a byte."""


class _Wanted(NamedTuple):
    """A row whose outputs are wanted.

    Attributes:
        pending: The evaluation.
        row: The row's number in it.
        key: The row's.
        column: Which output is wanted; None: all of them.
        own_key: The key of what is wanted.
    """

    pending: Pending
    row: int
    key: bytes
    column: tuple[int, ...] | None
    own_key: bytes


class RowLookup:
    """Finds the rows of a work that are known.

    Attributes:
        rows: How many were not evaluated.
    """

    __slots__ = ("_claims", "_known", "_model", "_row_seconds", "_wanted", "rows")

    def __init__(self, model: ServedModel, known: OutputCache, row_seconds: float) -> None:
        """Begins.

        Args:
            model: What is evaluated.
            known: What is known of it already.
            row_seconds: What one more row costs in a batch.
        """
        self._model = model
        self._known = known
        self._row_seconds = row_seconds
        self._claims: dict[bytes, tuple[Running, list[tuple[Running, _Wanted]]]] = {}
        self._wanted: dict[Running, list[_Wanted]] = {}
        self.rows = 0

    def missing(self, running: "Running", pending: Pending) -> list[tuple[int, int]]:
        """Takes what is known of an evaluation, and has the flow wait for what is on its way.

        Returns:
            The rows that are left to be evaluated, as ranges.
        """
        ranges, start = [], 0
        for wanted in self._look(pending):
            if not self._find(running, wanted):
                continue
            if start < wanted.row:
                ranges.append((start, wanted.row))
            start = wanted.row + 1
        if start < pending.rows:
            ranges.append((start, pending.rows))
        return ranges

    def complete(self, running: "Running") -> list["Running"]:
        """Keeps what a round has told.

        Returns:
            The flows that waited for it, and now for nothing more.
        """
        released = []
        for wanted in self._wanted.pop(running, ()):
            value = wanted.pending.value(wanted.row)
            self._known.put(wanted.own_key, value)
            _, waiting = self._claims.pop(wanted.own_key)
            for other, held in waiting:
                self._tell(other, held, _read(value, wanted.column, held.column))
                other.outstanding -= 1
                if not other.outstanding:
                    released.append(other)
        return released

    def end(self) -> None:
        """Lets go of the flows."""
        self._claims.clear()
        self._wanted.clear()

    def _look(self, pending: Pending) -> list[_Wanted]:
        """The rows of an evaluation that may be known, in their order."""
        evaluation = pending.evaluation
        if not (self._model.checks.independent and _reads_outputs_only(evaluation)):
            return []
        plain = self._plain(evaluation)
        module = self._model.module(evaluation)
        each = evaluation.rows.per_example
        found = []
        for row, tensors in plain:
            example, sample = divmod(row, each)
            if evaluation.wrt is not None and not evaluation.reduce.passes_over(sample):
                continue
            key = row_key(module, tensors, evaluation.arguments, example)
            if key is not None:
                column = _column(evaluation, example)
                own_key = key if column is None else key + repr(column).encode()
                found.append(_Wanted(pending, row, key, column, own_key))
        return found

    def _plain(self, evaluation: Evaluation) -> list[Plain]:
        rows = evaluation.rows
        # Those of an evaluation that has no others are always worth it: it may save its batch.
        alone = len(rows) <= MOST_PLAIN and evaluation.wrt is None
        if not alone and not self._is_dear(evaluation):
            return []
        plain = rows.plain()
        return plain if len(plain) == len(rows) or self._is_dear(evaluation) else []

    def _is_dear(self, evaluation: Evaluation) -> bool:
        """Whether a row costs enough to be looked for among others."""
        return self._row_seconds >= LOOK_SECONDS + BYTE_SECONDS * evaluation.key.row_bytes

    def _find(self, running: "Running", wanted: _Wanted) -> bool:
        """Whether a row need not be evaluated, because it is known or another flow has asked."""
        value = self._recalled(wanted)
        if value is not None:
            self._tell(running, wanted, value)
            return True
        for key in (wanted.own_key, wanted.key) if self._is_class(wanted) else (wanted.own_key,):
            claim = self._claims.get(key)
            if claim is not None:
                owner, waiting = claim
                if owner is running:
                    return False
                waiting.append((running, wanted))
                running.outstanding += 1
                return True
        self._claims[wanted.own_key] = (running, [])
        self._wanted.setdefault(running, []).append(wanted)
        return False

    def _is_class(self, wanted: _Wanted) -> bool:
        """Whether what is wanted is surely among all outputs of a row."""
        shape, column = self._model.checks.output_shape, wanted.column
        return column is not None and len(shape) == len(column) == 1 and 0 <= column[0] < shape[0]

    def _recalled(self, wanted: _Wanted) -> Tensor | None:
        outputs = self._known.get(wanted.key)
        if outputs is not None:
            found = outputs if wanted.column is None else chosen(outputs, wanted.column)
            if found is not None:
                return found
        return None if wanted.column is None else self._known.get(wanted.own_key)

    def _tell(self, running: "Running", wanted: _Wanted, value: Tensor) -> None:
        wanted.pending.know(wanted.row, value)
        running.execution.rows_known += 1
        self.rows += 1


def _reads_outputs_only(evaluation: Evaluation) -> bool:
    return (
        evaluation.outputs
        and evaluation.at_ends
        and evaluation.references is None
        and evaluation.forward_rows is None
        # Elsewhere the device would have to be waited for.
        and all(t.is_cpu for t in evaluation.rows.like)
    )


def _column(evaluation: Evaluation, example: int) -> tuple[int, ...] | None:
    """The index of the output that is wanted of an example's rows; None: all outputs."""
    target = evaluation.target
    if not isinstance(target, Output):
        return None
    if target.indices is None:
        return ()
    indices = target.indices
    return tuple(indices[0 if len(indices) == 1 else example].tolist())


def _read(value: Tensor, column: tuple[int, ...] | None, wanted: tuple[int, ...] | None) -> Tensor:
    """What somebody wants of what was read for another."""
    if column == wanted:
        return value
    assert wanted is not None, "who wants all outputs waits for nobody who reads one"
    found = chosen(value, wanted)
    assert found is not None, "the class is one of the output's"
    return found
