"""Answers of one explanation: numbers put between bytes that are kept.

They are the bytes that `results` would write, in half of the time.
"""

from typing import Final

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.service.answers import results
from adcaptum.service.answers.answer_form import AnswerForm, Frame
from adcaptum.service.answers.explanations import attribution_begin
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.answers.piece_numbers import (
    BASELINE_OUTPUT,
    OUTPUT,
    Array,
    converted,
    count_non_finite,
)
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.wire.field_writer import double
from adcaptum.v1 import explanation_service_pb2 as pb

RESULTS: Final = pb.ExplainResponse.RESULTS_FIELD_NUMBER

MOST_FRAMES: Final = 4
"""The most frames of a question: they differ in targets, rows, reasons and shapes."""


def find(form: AnswerForm, parsed: ParsedRequest, outcome: Outcome) -> bytes | None:
    """Returns an answer that consists of one explanation, serialised.

    Args:
        form: The form of the answer.
        parsed: The request.
        outcome: What was found.

    Returns:
        The answer; None if it has more of its own than a few numbers.
    """
    if not form.single or parsed.inputs.as_values or len(outcome.attributions) != 1:
        return None
    piece, found = outcome.attributions[0]
    if not _is_plain(found):
        return None
    array = converted(found.values[0], form.dtype)
    outputs = _outputs(found)
    key = (piece.target, found.rows_used, found.stop_reason, array.shape, len(outputs))
    frame = form.frames.get(key)
    if frame is None:
        frame = _frame(form, parsed, outcome, array, outputs)
        if frame is None:
            return None
        if len(form.frames) < MOST_FRAMES:
            form.frames[key] = frame
    if count_non_finite(array):
        return None
    return b"".join(
        (form.model, frame.before, outputs, frame.between, array.tobytes(), frame.after)
    )


def _is_plain(found: Attribution) -> bool:
    """Returns whether an attribution has no numbers but its values and the outputs."""
    return (
        len(found.values[0]) == 1
        and found.completeness_error is None
        and found.standard_error is None
        and found.relative_error is None
        and not found.standard_errors
        and not found.pairs
        and not found.uncovered_ops
    )


def _outputs(found: Attribution) -> bytes:
    written = b""
    if found.output is not None:
        written = double(OUTPUT, found.output.item())
    if found.baseline_output is not None:
        written += double(BASELINE_OUTPUT, found.baseline_output.item())
    return written


def _frame(
    form: AnswerForm, parsed: ParsedRequest, outcome: Outcome, array: Array, outputs: bytes
) -> Frame | None:
    """Returns the surroundings of the numbers in an answer; None if it is not always the same."""
    piece, found = outcome.attributions[0]
    if piece.target not in form.indices:
        return None
    written, finite = results.serialised(RESULTS, parsed, outcome, "", ended=True)
    after = results.end(found.rows_used, 0, (), found.stop_reason)
    between = attribution_begin(form.parts[0][0].name, form.datatype, array.shape[1:], array.nbytes)
    numbers = b"".join((outputs, between, array.tobytes(), after))
    if not finite or not written.endswith(numbers):
        return None
    return Frame(form.seed + written[: -len(numbers)], between, after)
