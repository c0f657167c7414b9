"""What predictions and explanations ask of the engine, stage by stage."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import ask
from adcaptum.service.requests.parsed_request import ParsedRequest, Piece
from adcaptum.service.runtime.work import PlannedFlow


class Prediction:
    """Asks for the outputs."""

    __slots__ = ("_evaluation",)

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the one flow."""
        return (PlannedFlow(ask(self._evaluation)),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:  # noqa: ARG002
        """Returns nothing: there is no second stage."""
        return ()


class Explanation:
    """Asks for the outputs, if the targets depend on them, then for the attributions.

    Where the outputs are only to be told they are asked for beside the attributions: nobody waits
    longer for these. They come first, so that the methods find these rows under way.

    Attributes:
        pieces: What the flows of the last stage are about, in their order; empty before it.
        rows: How many rows the last stage takes, as far as is known.
        outputs: What the model says, `(examples, *output)`, once it is known and was asked for.
    """

    __slots__ = ("_asks_outputs", "_question", "outputs", "pieces", "rows")

    def __init__(self, question: ParsedRequest) -> None:
        self._question = question
        self._asks_outputs = question.needs_outputs or question.tells_outputs
        self.pieces: list[Piece] = []
        self.rows = 0
        self.outputs: Tensor | None = None

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the flow that asks for the outputs, or those of the attributions."""
        outputs = [PlannedFlow(ask(self._question.asks_outputs()))] if self._asks_outputs else []
        return outputs if self._question.needs_outputs else [*outputs, *self._explain(None)]

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        """Returns the flows of the attributions, if these were not they."""
        if self._asks_outputs and self.outputs is None:
            self.outputs = results[0].values
        return () if self.pieces else self._explain(self.outputs)

    def answered(self, results: Sequence[Any]) -> list[tuple[Piece, Attribution]]:
        """Returns what was asked, with its answers."""
        return list(zip(self.pieces, results[-len(self.pieces) :], strict=True))

    def _explain(self, outputs: Tensor | None) -> Sequence[PlannedFlow]:
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
            PlannedFlow(methods[piece.method].flow(piece.explicand), share, piece)
            for piece, share in zip(self.pieces, shares, strict=True)
        ]
