"""Pending evaluations, which collect their rows' results."""

from __future__ import annotations

from adcaptum.engine.execution.parts import Arrival, InOrder, Part
from adcaptum.engine.rows.reduce import Sink, Stack
from adcaptum.engine.vocabulary.evaluation import STACK, Evaluation, Reading


class Pending:
    """An evaluation with the results of its rows so far."""

    __slots__ = ("_folds", "_in_order", "_whole", "done", "evaluation", "rows")

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.rows = len(evaluation.rows)
        self.done = 0
        forward_rows = evaluation.forward_rows
        self._in_order = None if forward_rows is None else InOrder(self.rows, forward_rows)
        self._whole: Part | None = None
        self._folds: _Folds | None = None

    def add(self, start: int, stop: int, part: Part) -> None:
        """Adds a batch's results for rows start..stop."""
        self.done += stop - start
        if self._in_order is not None:
            for arrival in self._in_order.add(Arrival(start, stop, part)):
                self._fold(*arrival)
        elif stop - start == self.rows and isinstance(self.evaluation.reduce, Stack):
            # All rows at once, which is how small requests come.
            self._whole = part
        else:
            self._fold(start, stop, part)

    def _fold(self, start: int, stop: int, part: Part) -> None:
        if self._folds is None:
            self._folds = _Folds(self.evaluation)
        self._folds.add(start, stop, part)

    def reading(self) -> Reading:
        """Returns the reading, once every row has its results."""
        assert self.done == self.rows, f"{self.done} of {self.rows} rows are there"
        whole = self._whole
        if whole is None:
            return (_Folds(self.evaluation) if self._folds is None else self._folds).reading()
        return Reading(
            whole.values,
            whole.gradients,
            whole.activations,
            whole.reference_values,
            whole.uncovered_ops,
        )


class _Folds:
    """The folds of an evaluation's results."""

    __slots__ = (
        "_activations", "_folds_both", "_gradients", "_reference_values", "_uncovered_ops",
        "_values",
    )  # fmt: skip

    def __init__(self, evaluation: Evaluation) -> None:
        self._values: Sink = STACK.sink(evaluation.rows)
        self._reference_values: Sink | None = (
            None if evaluation.references is None else STACK.sink(evaluation.rows)
        )
        self._uncovered_ops: tuple[str, ...] = ()
        self._gradients: Sink | None = (
            None if evaluation.wrt is None else evaluation.reduce.sink(evaluation.rows)
        )
        # Where the reduction takes the values too, they are not kept row by row.
        both = evaluation.wrt is not None and evaluation.reduce.with_activations
        self._folds_both = both
        kept = evaluation.read is not None and not both
        self._activations: Sink | None = STACK.sink(evaluation.rows) if kept else None

    def add(self, start: int, stop: int, part: Part) -> None:
        """Adds the results of rows start..stop."""
        self._values.add(start, stop, (part.values,))
        if self._gradients is not None:
            folded = part.gradients
            if self._folds_both:
                folded = (*folded, *part.activations)
            self._gradients.add(start, stop, folded)
        if self._activations is not None:
            self._activations.add(start, stop, part.activations)
        if self._reference_values is not None and part.reference_values is not None:
            self._reference_values.add(start, stop, (part.reference_values,))
        if part.uncovered_ops != self._uncovered_ops:
            self._uncovered_ops = tuple(sorted({*self._uncovered_ops, *part.uncovered_ops}))

    def reading(self) -> Reading:
        """Returns the reading."""
        (values,) = self._values.result()
        return Reading(
            values=values,
            gradients=() if self._gradients is None else self._gradients.result(),
            activations=() if self._activations is None else self._activations.result(),
            reference_values=(
                None if self._reference_values is None else self._reference_values.result()[0]
            ),
            uncovered_ops=self._uncovered_ops,
        )
