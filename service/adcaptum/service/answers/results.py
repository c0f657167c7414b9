"""Results: the outcome of a computation -> one message per method, written in place."""

from typing import Protocol

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from adcaptum.service.answers import failures
from adcaptum.service.answers.explanations import STOP_REASONS, PieceWriter
from adcaptum.service.answers.outcome import Outcome, stop_reason
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explanation_pb2


class Results(Protocol):
    """A message with results: an answer, or progress."""

    @property
    def results(self) -> RepeatedCompositeFieldContainer[explanation_pb2.MethodResult]:
        """The results, one per method."""
        ...


def write(
    into: Results, parsed: ParsedRequest, outcome: Outcome, request_id: str, *, ended: bool
) -> None:
    """Writes the results of a request's methods, in their order.

    Args:
        into: A message without results.
        parsed: The request.
        outcome: What was found so far.
        request_id: The id under which the log has the rest of an error.
        ended: Whether these are the last results, with the reasons of their ends.
    """
    for index, method in enumerate(parsed.methods):
        result = into.results.add()
        # Parsing kept bytes is faster than copying a message.
        result.MergeFromString(method.result)
        failure = outcome.failures.get(index)
        if failure is None:
            _write_explanations(result, parsed, outcome, index, ended=ended)
        else:
            result.rows_used = failure.rows_used
            result.stop_reason = explanation_pb2.STOP_REASON_FAILED
            failures.write(result.failure, failure.error, index, request_id)


def _write_explanations(
    result: explanation_pb2.MethodResult,
    parsed: ParsedRequest,
    outcome: Outcome,
    method: int,
    *,
    ended: bool,
) -> None:
    own = outcome.of(method)
    writers = [PieceWriter(parsed, piece, attribution) for piece, attribution in own]
    if len(writers) == 1:
        # Its examples are in order.
        writer = writers[0]
        for example in range(writer.count):
            writer.write(result.explanations.add(), example, ended=ended)
    else:
        places = [
            (writer.piece.part.first + example, writer.piece.target, example, writer)
            for writer in writers
            for example in range(writer.count)
        ]
        places.sort(key=_order)
        for _, _, example, writer in places:
            writer.write(result.explanations.add(), example, ended=ended)
    rows = bad = 0
    uncovered: set[str] = set()
    for writer in writers:
        rows += writer.attribution.rows_used
        bad += writer.numbers.non_finite
        uncovered.update(writer.attribution.uncovered_ops)
    result.rows_used = rows
    if bad:
        result.non_finite = bad
    if uncovered:
        result.uncovered_ops.extend(sorted(uncovered))
    if ended:
        result.stop_reason = STOP_REASONS[stop_reason(own)]


def _order(place: tuple[int, int, int, PieceWriter]) -> tuple[int, int]:
    return place[:2]
