"""Responses: messages of explanations and of their progress."""

from time import monotonic
from typing import Final

from torch import Tensor

from adcaptum.service.answers import (
    input_features,
    predictions,
    results,
    single_explanations,
    warnings,
)
from adcaptum.service.answers.answer_form import answer_form
from adcaptum.service.answers.model_parts import model_parts
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers import costs
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.shared_computation import SharedComputation
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Forecast
from adcaptum.service.runtime.work import Work
from adcaptum.service.wire import tensor_writer
from adcaptum.service.wire.field_writer import begin
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

RESULT: Final = pb.ExplainStreamResponse.RESULT_FIELD_NUMBER
RESULTS: Final = pb.ExplainResponse.RESULTS_FIELD_NUMBER


def accepted(call: Call, computation: SharedComputation, forecast: Forecast | None) -> pb.Accepted:
    """Returns the first event of a stream.

    Args:
        call: The call.
        computation: The request's computation.
        forecast: Its expected time; None: it was running before.
    """
    message = pb.Accepted(request_id=call.id, expected_rows=computation.rows)
    if forecast is not None:
        message.expected_seconds = forecast.promise
        message.rows_ahead = forecast.ahead.rows
        message.requests_ahead = forecast.ahead.requests
    return message


def progress(
    computation: SharedComputation, request_id: str, *, with_features: bool
) -> pb.Progress:
    """Returns the progress of a computation, written once for all waiters.

    Args:
        computation: The computation.
        request_id: The id under which the log has the rest of an error.
        with_features: Whether to add the names of the features, if there are explanations.
    """
    message, so_far = computation.progress, computation.so_far()
    if message is None:
        message = pb.Progress(rows_done=computation.work.rows_done, expected_rows=computation.rows)
        remaining = computation.remaining_seconds
        if remaining is not None:
            message.remaining_seconds = remaining
        results.write(message, computation.parsed, so_far, request_id, ended=False)
        if not so_far.failures:
            computation.progress = message
    if not with_features or not so_far.attributions:
        return message
    named = pb.Progress()
    named.CopyFrom(message)
    input_features.write(named.features, computation.parsed)
    return named


def explanation(
    parsed: ParsedRequest, outcome: Outcome, outputs: Tensor | None, request_id: str
) -> bytes:
    """Returns an answer, serialised, without what each that waits for it has of its own.

    Args:
        parsed: The request.
        outcome: What was found.
        outputs: The model's outputs for its inputs, where they are known.
        request_id: The id under which the log has the rest of an error.
    """
    form = answer_form(parsed)
    if outputs is None:
        single = single_explanations.find(form, parsed, outcome)
        if single is not None:
            return single
    written, finite = results.serialised(RESULTS, parsed, outcome, request_id, ended=True)
    written = form.model + form.seed + written
    inputs, options = parsed.inputs, parsed.question.output
    if finite and outputs is None and inputs.texts is None and not options.return_inputs:
        return written
    return written + _rest(parsed, b"" if finite else written, outputs)


def _rest(parsed: ParsedRequest, written: bytes, outputs: Tensor | None) -> bytes:
    """Returns the fields of an answer that most do not have.

    Args:
        parsed: The request.
        written: The other fields, if numbers of them are not finite.
        outputs: The model's outputs for its inputs, where they are known.
    """
    rest = pb.ExplainResponse()
    input_features.write_tokens(rest.features, parsed)
    write_outputs(rest, parsed, outputs)
    if parsed.output.return_inputs:
        declared = parsed.model.loaded.declaration.inputs
        for each, values in zip(declared, parsed.inputs.tensors, strict=True):
            tensor_writer.write(rest.inputs.add(), values, each.name, as_values=parsed.as_values)
    found = pb.ExplainResponse.FromString(written).results
    rest.warnings.extend(warnings.of_explanation(parsed, found, outputs))
    return rest.SerializeToString()


def write_outputs(
    response: pb.ExplainResponse, parsed: ParsedRequest, outputs: Tensor | None
) -> None:
    """Writes predictions and outputs, as far as they are known and wanted."""
    if outputs is None or not parsed.shows_outputs:
        return
    options = parsed.output
    if not options.HasField("return_predictions") or options.return_predictions:
        most = options.max_labels or predictions.MOST_LABELS
        predictions.write(response.predictions, parsed.model, outputs, most)
    if options.return_outputs:
        name = parsed.model.loaded.declaration.outputs[0].name
        tensor_writer.write(response.outputs.add(), outputs, name, as_values=parsed.as_values)


def of_call(
    answer: bytes,
    cache: explanation_pb2.CacheStatus.ValueType,
    work: Work | None,
    call: Call,
) -> bytes:
    """Returns an answer with what a call has of its own, serialised.

    Args:
        answer: The answer, serialised.
        cache: Its source.
        work: The work that found it; None: it was kept.
        call: The call.
    """
    own = pb.ExplainResponse(cache=cache, request_id=call.id)
    if work is None:
        own.timings.total_seconds = monotonic() - call.arrival
    else:
        write_timings(own.timings, work, call)
    # Serialised messages concatenate.
    return answer + own.SerializeToString()


def prediction(model: ServedModel, outputs: Tensor, most: int, read: Inputs | None = None) -> bytes:
    """Writes a `PredictResponse`, serialised, without what its call has of its own.

    Args:
        model: The model.
        outputs: Its outputs.
        most: The most labels of an example; 0: as usual.
        read: The inputs, where the answer may depend on their form.
    """
    response = pb.PredictResponse()
    name = model.loaded.declaration.outputs[0].name
    as_values = read is not None and read.as_values
    tensor_writer.write(response.outputs.add(), outputs, name, as_values=as_values)
    predictions.write(response.predictions, model, outputs, most or predictions.MOST_LABELS)
    found = warnings.of_prediction(read, outputs)
    if found:
        response.warnings.extend(found)
    return model_parts(model).identity + response.SerializeToString()


def predicted(
    answer: bytes, model: ServedModel, work: Work, call: Call, metrics: RequestMetrics
) -> bytes:
    """Counts a prediction, and returns it with what its call has of its own.

    Args:
        answer: The answer, serialised.
        model: The model.
        work: The work that found it.
        call: The call.
        metrics: The counters of answers.
    """
    metrics.answered(model.name, "Predict", queue_seconds(work, call), work.compute_seconds)
    costs.charge(call, work)
    own = pb.PredictResponse(request_id=call.id)
    write_timings(own.timings, work, call)
    return answer + own.SerializeToString()


def reply(
    answer: bytes,
    request: IdentifiedRequest,
    work: Work,
    metrics: RequestMetrics,
    *,
    joined: bool,
    rpc: str = "Explain",
) -> bytes:
    """Counts an answer that was computed, and returns it with what its call has of its own.

    Args:
        answer: The answer, serialised.
        request: The request.
        work: The work that found it.
        metrics: The counters of answers.
        joined: Whether it was being computed for another request when this one came.
        rpc: The name of the call, for the metrics.
    """
    model = request.model.name
    metrics.answered(model, rpc, queue_seconds(work, request.call), work.compute_seconds)
    if joined:
        cache = explanation_pb2.CACHE_STATUS_JOINED
        metrics.joined(model)
    elif request.key is not None:
        cache = explanation_pb2.CACHE_STATUS_MISS
        metrics.missed(model)
    else:
        cache = explanation_pb2.CACHE_STATUS_BYPASSED
    if not joined:
        costs.charge(request.call, work)
    return of_call(answer, cache, work, request.call)


def last_event(answer: bytes) -> bytes:
    """Returns the last event of a stream, an `ExplainStreamResponse`, serialised."""
    return begin(RESULT, len(answer)) + answer


def queue_seconds(work: Work, call: Call) -> float:
    """Returns a request's wait for the first batch; 0 if the batch was before its arrival."""
    return max(0.0, work.queue_seconds - (call.arrival - work.arrival))


def write_timings(into: explanation_pb2.Timings, work: Work, call: Call) -> None:
    """Writes the times of a request."""
    into.queue_seconds = queue_seconds(work, call)
    into.compute_seconds = work.compute_seconds
    into.total_seconds = monotonic() - call.arrival
    into.batches = work.batches
