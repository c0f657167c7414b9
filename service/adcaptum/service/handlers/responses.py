"""Responses: messages of explanations and of their progress."""

from time import monotonic

from torch import Tensor

from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.shared_computation import PieceAttributions, SharedComputation
from adcaptum.service.requests import answer_warnings, answers
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Forecast
from adcaptum.service.runtime.work import Work
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb


def accepted(call: Call, computation: SharedComputation, forecast: Forecast | None) -> pb.Accepted:
    """Returns the first event of a stream.

    Args:
        call: The call.
        computation: The request's computation.
        forecast: Its expected time; None: it was running before.
    """
    if forecast is None:
        return pb.Accepted(request_id=call.id, rows=computation.rows)
    return pb.Accepted(
        request_id=call.id,
        rows=computation.rows,
        rows_ahead=forecast.ahead.rows,
        position=forecast.ahead.requests,
        seconds=forecast.promise,
    )


def partial(computation: SharedComputation) -> pb.Partial:
    """Returns the progress of a computation, written once for all waiters."""
    if computation.partial is None:
        computation.partial = pb.Partial(
            rows_done=computation.work.rows_done,
            rows=computation.rows,
            explanations=answers.explanations(computation.parsed, computation.so_far()),
        )
    return computation.partial


def explanation(
    parsed: ParsedRequest, answered: PieceAttributions, outputs: Tensor | None
) -> pb.ExplainResponse:
    """Returns the part of an answer that is the same for all that wait for a computation.

    Args:
        parsed: The request.
        answered: Its attributions.
        outputs: The model's outputs for its inputs, where they are known.
    """
    predictions, shown_outputs = answers.shown_outputs(parsed, outputs)
    reports = answers.reports(parsed, answered)
    declared = parsed.model.loaded.declaration.inputs
    shown = parsed.inputs.tensors if parsed.output.return_inputs else ()
    return pb.ExplainResponse(
        model=parsed.model.identity,
        explanations=answers.explanations(parsed, answered),
        reports=reports,
        inputs=[
            tensors.encode(values, each.name) for each, values in zip(declared, shown, strict=False)
        ],
        seed=parsed.seed,
        predictions=predictions,
        outputs=shown_outputs,
        warnings=answer_warnings.of_explanation(parsed, reports, outputs),
    )


def queue_seconds(work: Work, call: Call) -> float:
    """Returns a request's wait for the first batch; 0 if the batch was before its arrival."""
    return max(0.0, work.queue_seconds - (call.arrival - work.arrival))


def timings(work: Work, call: Call) -> explanation_pb2.Timings:
    """Returns the times of a request."""
    return explanation_pb2.Timings(
        queue_seconds=queue_seconds(work, call),
        compute_seconds=work.compute_seconds,
        total_seconds=monotonic() - call.arrival,
        batches=work.batches,
    )
