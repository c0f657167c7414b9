"""Results: the outcome of a computation -> one message per method, written in place."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.answers import failures
from adcaptum.service.answers.explanations import STOP_REASONS, PieceWriter
from adcaptum.service.answers.outcome import MethodFailure, Outcome, stop_reason
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire.field_writer import begin
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

Results = pb.ExplainResponse | pb.Progress
"""A message with results."""

EXPLANATIONS: Final = explanation_pb2.MethodResult.EXPLANATIONS_FIELD_NUMBER

MOST_ENDS: Final = 1024
"""The most ends of results that are kept serialised: some bytes each."""


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
    found, _ = serialised(into.RESULTS_FIELD_NUMBER, parsed, outcome, request_id, ended=ended)
    into.MergeFromString(found)


def serialised(
    field: int, parsed: ParsedRequest, outcome: Outcome, request_id: str, *, ended: bool
) -> tuple[bytes, bool]:
    """Returns the results of a request's methods, in their order, serialised.

    Args:
        field: The field of the results in their message.
        parsed: The request.
        outcome: What was found so far.
        request_id: The id under which the log has the rest of an error.
        ended: Whether these are the last results, with the reasons of their ends.

    Returns:
        The results, and whether all attributions are finite.
    """
    finite, parts = True, list[bytes]()
    for index, method in enumerate(parsed.question.methods):
        failure = outcome.failures.get(index)
        if failure is not None:
            data = _failed(method, failure, index, request_id)
        else:
            own = outcome.of(index)
            writers = [PieceWriter(parsed, piece, attribution) for piece, attribution in own]
            data = _result(method, own, writers, ended=ended)
            for writer in writers:
                finite = finite and not writer.numbers.non_finite
        parts += (begin(field, len(data)), data)
    return b"".join(parts), finite


def _failed(method: ResolvedMethod, failure: MethodFailure, index: int, request_id: str) -> bytes:
    result = explanation_pb2.MethodResult.FromString(method.result)
    result.rows_used = failure.rows_used
    result.stop_reason = explanation_pb2.STOP_REASON_FAILED
    failures.write(result.failure, failure.error, index, request_id)
    return result.SerializeToString()


def _result(
    method: ResolvedMethod,
    own: Sequence[tuple[Piece, Attribution]],
    writers: Sequence[PieceWriter],
    *,
    ended: bool,
) -> bytes:
    """Returns the result of a method: its explanations by example, and then by target."""
    places = [(writer, example) for writer in writers for example in range(writer.count)]
    if len(writers) > 1:
        places.sort(key=_order)
    parts = [method.result]
    for writer, example in places:
        data = writer.serialised(example, ended=ended)
        parts += (begin(EXPLANATIONS, len(data)), data)
    rows = bad = 0
    uncovered: tuple[str, ...] = ()
    for writer in writers:
        rows += writer.attribution.rows_used
        bad += writer.numbers.non_finite
        uncovered += writer.attribution.uncovered_ops
    parts.append(end(rows, bad, uncovered, stop_reason(own) if ended else None))
    return b"".join(parts)


@lru_cache(maxsize=MOST_ENDS)
def end(rows: int, bad: int, uncovered: tuple[str, ...], reason: StopReason | None) -> bytes:
    """Serialises the fields of a result that stand for all of its explanations."""
    message = explanation_pb2.MethodResult(
        rows_used=rows, non_finite=bad, uncovered_ops=sorted({*uncovered})
    )
    if reason is not None:
        message.stop_reason = STOP_REASONS[reason]
    return message.SerializeToString()


def _order(place: tuple[PieceWriter, int]) -> tuple[int, int]:
    writer, example = place
    return writer.piece.part.first + example, writer.piece.target
