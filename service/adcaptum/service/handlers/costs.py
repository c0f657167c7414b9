"""Costs of predictions and explanations, estimated before anything is paid."""

from collections.abc import Sequence
from typing import Final

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest, Piece
from adcaptum.service.runtime.cost import Cost

PLANNING_NUMBER_SECONDS: Final = 2.5e-7
"""The time of planning coalitions and fitting regressions, for each row times element of an
example."""


def of_prediction(inputs: Inputs) -> Cost:
    """Estimates the cost of a prediction."""
    rows = {"forward": inputs.count}
    return Cost(rows, rows, rows, 0.0, sum([each.nbytes for each in inputs.tensors]))


def of_explanation(parsed: ParsedRequest) -> Cost:
    """Estimates the cost of an explanation."""
    planned = parsed.estimated_rows()
    most, expected = parsed.budget.max_rows, sum(planned.values())
    rows = planned
    if expected > most:
        rows = {kind: -(-count * most // expected) for kind, count in planned.items()}
    each = parsed.inputs.count * parsed.choice.count
    first = {kind: min(count, each) for kind, count in rows.items()}
    if parsed.needs_outputs or parsed.tells_outputs:
        rows = {**rows, "forward": rows["forward"] + parsed.inputs.count}
    return Cost(rows, first, planned, _planning_seconds(parsed, expected), parsed.nbytes)


def learn(parsed: ParsedRequest, answered: Sequence[tuple[Piece, Attribution]]) -> None:
    """Records how many rows an explanation to a tolerance has taken, for later estimates.

    Args:
        parsed: The request.
        answered: Its attributions, all of whose flows have ended.
    """
    tolerance = parsed.budget.tolerance
    if tolerance is None:
        return
    for index, resolved in enumerate(parsed.methods):
        own = [(piece, found) for piece, found in answered if piece.method == index]
        parsed.model.row_forecasts.learn(
            resolved.spec.name,
            tolerance,
            sum(parsed.rows(piece) for piece, _ in own),
            sum(found.rows_used for _, found in own),
            whole=all(found.stop_reason is StopReason.CONVERGED for _, found in own),
        )


def _planning_seconds(parsed: ParsedRequest, rows: int) -> float:
    """Estimates the time of the methods' mathematics beside so many rows."""
    if not any(each.method.traits.feature_masks for each in parsed.methods):
        return 0.0
    elements = sum(each[0].numel() for each in parsed.inputs.tensors)
    return rows * elements * PLANNING_NUMBER_SECONDS
