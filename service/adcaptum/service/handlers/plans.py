"""Plans: the stages of predictions and explanations, as flows of the engine."""

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import ask
from adcaptum.service.answers.outcome import MethodFailure, Outcome
from adcaptum.service.requests import budgets
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.runtime.planned_flow import FailedFlow, PlannedFlow

MISJUDGED: Final = 8
"""The multiple of its expected rows that a flow may take to a tolerance before others need them."""


class PredictionPlan:
    """The one stage of a prediction: the outputs."""

    __slots__ = ("_evaluation",)

    def __init__(self, read: Inputs) -> None:
        self._evaluation = Evaluation(Given(read.tensors), arguments=read.arguments)

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the one flow."""
        return (PlannedFlow(ask(self._evaluation)),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:  # noqa: ARG002
        """Returns no flows: there is no second stage."""
        return ()


class ExplanationPlan:
    """The stages of an explanation: the outputs, if targets depend on them, then the attributions.

    Outputs that are only part of the answer are evaluated beside the attributions, which do not
    wait for them.

    Attributes:
        pieces: The piece of the request that each flow of the last stage computes, in their order;
            empty before it.
        outputs: The model's outputs, `(examples, *output)`, if requested and once known.
    """

    __slots__ = ("_asks_outputs", "_parsed", "outputs", "pieces")

    def __init__(self, parsed: ParsedRequest) -> None:
        self._parsed = parsed
        self._asks_outputs = parsed.needs_outputs or parsed.shows_outputs
        self.pieces: list[Piece] = []
        self.outputs: Tensor | None = None

    def first(self) -> Sequence[PlannedFlow]:
        """Returns the flow of the outputs, or those of the attributions, or both."""
        outputs = [PlannedFlow(ask(self._parsed.asks_outputs()))] if self._asks_outputs else []
        return outputs if self._parsed.needs_outputs else [*outputs, *self._explain(None)]

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        """Returns the flows of the attributions, if they have not run."""
        if self._asks_outputs and self.outputs is None:
            self.outputs = results[0].values
        return () if self.pieces else self._explain(self.outputs)

    def outcome(self, results: Sequence[Any]) -> Outcome:
        """Returns the attributions of the methods, and the failures of those that have none."""
        attributions: list[tuple[Piece, Attribution]] = []
        failures = self.unsupported()
        for piece, result in zip(self.pieces, results[-len(self.pieces) :], strict=True):
            if isinstance(result, FailedFlow):
                known = failures.get(piece.method)
                used = result.rows_used + (known.rows_used if known is not None else 0)
                failures[piece.method] = MethodFailure(self.error_of(result.error), used)
            else:
                attributions.append((piece, result))
        return Outcome(attributions, failures)

    def unsupported(self) -> dict[int, MethodFailure]:
        """Returns the failures of the methods that the model cannot run."""
        return {index: MethodFailure(error) for index, error in self._parsed.failures.items()}

    def error_of(self, error: Exception) -> Exception:
        """Returns the error of a flow as one of its request."""
        if isinstance(error, BudgetExceeded):
            return budgets.too_few_rows(error, self._parsed.budget, self._parsed.inputs.count)
        return error

    def _explain(self, outputs: Tensor | None) -> Sequence[PlannedFlow]:
        parsed = self._parsed
        methods = [method.method for method in parsed.methods]
        self.pieces = parsed.pieces(outputs)
        rows = [parsed.rows(piece) for piece in self.pieces]
        budget = parsed.budget.max_rows
        # Each flow may use the whole budget if it suffices for all, else its share of it.
        shares = [budget] * len(rows)
        if parsed.budget.tolerance is not None:
            shares = _uncertain_shares(rows, budget)
        elif sum(rows) > budget:
            shares = _shares(rows, budget)
        return [
            PlannedFlow(
                methods[piece.method].flow(piece.explicand),
                max(1, share),
                piece,
                piece.method if len(methods) > 1 else None,
            )
            for piece, share in zip(self.pieces, shares, strict=True)
        ]


def _uncertain_shares(expected: Sequence[int], budget: int) -> list[int]:
    """Divides a budget among flows of which each may take several times the expected rows."""
    total = sum(expected)
    if total * MISJUDGED <= budget:
        return [budget * own // max(1, total) for own in expected]
    if total > budget:
        return _shares([own * MISJUDGED for own in expected], budget)
    more = _shares([own * (MISJUDGED - 1) for own in expected], budget - total)
    return [own + rest for own, rest in zip(expected, more, strict=True)]


def _shares(needs: Sequence[int], budget: int) -> list[int]:
    """Divides a budget evenly; what one does not need, the others have."""
    shares = [0] * len(needs)
    for left, index in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        shares[index] = min(needs[index], budget // (len(needs) - left))
        budget -= shares[index]
    return shares
