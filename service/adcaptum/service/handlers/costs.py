"""Estimates of the costs of predictions and explanations, made before any work starts."""

from typing import Final

from adcaptum.engine.vocabulary.attribution import StopReason
from adcaptum.engine.vocabulary.method import MULTIPLY_ADDS_PER_SECOND
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers.call import Call
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.work import Work

PLAIN_NUMBERS: Final = 1 << 13
"""The product of rows and elements of an example up to which planning coalitions and fitting
regressions takes some milliseconds at most."""


def of_prediction(inputs: Inputs, model: ServedModel) -> Cost:
    """Estimates the cost of a prediction."""
    rows = {"forward": inputs.count}
    nbytes = sum([each.nbytes for each in inputs.tensors])
    return Cost(
        rows,
        rows,
        rows,
        planning_seconds=0.0,
        plain=True,
        # The inputs are in the message, too.
        nbytes=2 * nbytes + model.checks.output_bytes(inputs.count),
        row_bytes=nbytes // inputs.count,
    )


def of_explanation(parsed: ParsedRequest) -> Cost:
    """Estimates the cost of an explanation."""
    planned = parsed.estimated_rows()
    most, expected = parsed.budget.max_rows, sum(planned.values())
    rows = planned
    if expected > most:
        rows = {kind: -(-count * most // expected) for kind, count in planned.items()}
    each = parsed.inputs.count * parsed.targets.count
    first = {kind: min(count, each) for kind, count in rows.items()}
    if parsed.needs_outputs or parsed.shows_outputs:
        rows = {**rows, "forward": rows["forward"] + parsed.inputs.count}
    return Cost(
        rows,
        first,
        planned,
        planning_seconds=parsed.estimated_multiply_adds() / MULTIPLY_ADDS_PER_SECOND,
        plain=_is_plain(parsed, expected),
        nbytes=parsed.held_bytes,
        row_bytes=sum([each[0].nbytes for each in parsed.inputs.tensors]),
    )


def learn(parsed: ParsedRequest, outcome: Outcome) -> None:
    """Records how many rows an explanation to a tolerance has taken, for later estimates.

    Args:
        parsed: The request.
        outcome: Its attributions, all of whose flows have ended.
    """
    tolerance = parsed.budget.tolerance
    if tolerance is None:
        return
    for index, resolved in enumerate(parsed.methods):
        if index in outcome.failures:
            continue
        own = outcome.of(index)
        parsed.model.row_forecasts.learn(
            resolved.spec.name,
            tolerance,
            sum(parsed.rows(piece) for piece, _ in own),
            sum(found.rows_used for _, found in own),
            whole=all(found.stop_reason is StopReason.CONVERGED for _, found in own),
        )


def charge(call: Call, work: Work) -> None:
    """Notes the price of an answer: the expected seconds of the rows that were evaluated for it.

    Args:
        call: The call that is answered.
        work: The work that found the answer.
    """
    expected = work.cost.total_rows
    share = work.rows_done / expected if expected else 1.0
    call.spent.seconds = work.seconds * share / work.request.members


def _is_plain(parsed: ParsedRequest, rows: int) -> bool:
    """Returns whether the mathematics of the methods takes little time beside that many rows."""
    if not any(each.method.traits.feature_masks for each in parsed.methods):
        return True
    elements = sum([each[0].numel() for each in parsed.inputs.tensors])
    return rows * elements <= PLAIN_NUMBERS
