"""What predictions and explanations ask of the engine, stage by stage."""

from collections.abc import Sequence
from typing import Any

from adcaptum.engine.attribution import Attribution
from adcaptum.engine.evaluation import Evaluation
from adcaptum.engine.flow import ask
from adcaptum.service.question import Piece, Question
from adcaptum.service.work import Ask


class Prediction:
    """Asks for the outputs."""

    __slots__ = ("_evaluation",)

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def first(self) -> Sequence[Ask]:
        """Returns the one flow."""
        return (Ask(ask(self._evaluation)),)

    def following(self, results: list[Any]) -> Sequence[Ask]:  # noqa: ARG002
        """Returns nothing: there is no second stage."""
        return ()


class Explanation:
    """Asks for the outputs, if the targets depend on them, then for the attributions.

    Attributes:
        pieces: What the flows of the last stage are about, in their order; empty before it.
        rows: How many rows the last stage takes, as far as is known.
    """

    __slots__ = ("_asked_outputs", "_question", "pieces", "rows")

    def __init__(self, question: Question) -> None:
        self._question = question
        self._asked_outputs = False
        self.pieces: list[Piece] = []
        self.rows = 0

    def first(self) -> Sequence[Ask]:
        """Returns the flow that asks for the outputs, or those of the attributions."""
        if self._question.needs_outputs:
            self._asked_outputs = True
            return (Ask(ask(self._question.asks_outputs())),)
        return self._explain(None)

    def following(self, results: list[Any]) -> Sequence[Ask]:
        """Returns the flows of the attributions, if these were not they."""
        if not self._asked_outputs:
            return ()
        self._asked_outputs = False
        (reading,) = results
        return self._explain(reading.values)

    def answered(self, results: Sequence[Attribution]) -> list[tuple[Piece, Attribution]]:
        """Returns what was asked, with its answers."""
        return list(zip(self.pieces, results, strict=True))

    def _explain(self, outputs: Any) -> Sequence[Ask]:
        question = self._question
        methods = [method.method for method in question.methods]
        self.pieces = question.pieces(outputs)
        rows = [question.rows(piece) for piece in self.pieces]
        self.rows = sum(rows)
        budget = question.budget.max_rows
        # What each may use: all that there is if it suffices for all, else its share. With a
        # tolerance nobody knows what each will take.
        shares = [budget] * len(rows)
        if self.rows > budget or question.budget.tolerance is not None:
            shares = [max(1, budget * own // max(1, self.rows)) for own in rows]
        return [
            Ask(methods[piece.method].flow(piece.explicand), share)
            for piece, share in zip(self.pieces, shares, strict=True)
        ]
