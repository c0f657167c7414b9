"""Decoding of replies."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt

from adcaptum.client.codec.descriptions import decode_identity, decode_method
from adcaptum.client.codec.tensors import decode_tensor
from adcaptum.client.errors import Internal
from adcaptum.client.results.events import Accepted, Event, Final, Partial
from adcaptum.client.results.explanation import (
    Attribution,
    ErrorKind,
    Explanation,
    ExplanationError,
    Feature,
    MethodReport,
    StopReason,
    Token,
)
from adcaptum.client.results.explanations import CacheStatus, Explanations
from adcaptum.client.results.model_info import InputInfo, ModelInfo
from adcaptum.client.results.prediction import LabelScore, PredictResult
from adcaptum.client.results.timings import Timings
from adcaptum.v1 import explanation_pb2, explanation_service_pb2, tensor_pb2

Arrays = dict[str, npt.NDArray[Any]]

_ERROR_KINDS = {
    explanation_pb2.ERROR_KIND_COMPLETENESS: ErrorKind.COMPLETENESS,
    explanation_pb2.ERROR_KIND_STANDARD_ERROR: ErrorKind.STANDARD_ERROR,
}
_STOP_REASONS = {
    explanation_pb2.STOP_REASON_CONVERGED: StopReason.CONVERGED,
    explanation_pb2.STOP_REASON_BUDGET: StopReason.BUDGET,
    explanation_pb2.STOP_REASON_DEADLINE: StopReason.DEADLINE,
}
_CACHE = {
    explanation_pb2.CACHE_STATUS_UNSPECIFIED: CacheStatus.BYPASSED,
    explanation_pb2.CACHE_STATUS_MISS: CacheStatus.MISS,
    explanation_pb2.CACHE_STATUS_HIT: CacheStatus.HIT,
    explanation_pb2.CACHE_STATUS_JOINED: CacheStatus.JOINED,
}


def decode_prediction(response: explanation_service_pb2.PredictResponse) -> PredictResult:
    """Decode a prediction."""
    return PredictResult(
        model=decode_identity(response.model),
        outputs=_decode_tensors(response.outputs),
        predictions=_decode_predictions(response.predictions),
        timings=_decode_timings(response.timings),
        request_id=response.request_id,
        warnings=tuple(response.warnings),
    )


def decode_explanations(
    response: explanation_service_pb2.ExplainResponse, model: ModelInfo | None
) -> Explanations:
    """Decode explanations.

    Args:
        response: The reply.
        model: The source of feature names; None if unknown.
    """
    reports = tuple(_decode_report(each) for each in response.reports)
    inputs = _decode_tensors(response.inputs)
    count = len(response.explanations)
    return Explanations(
        model=decode_identity(response.model),
        explanations=tuple(
            # Explanations are ordered by method, with equally many for each.
            _decode_explanation(
                each, model, inputs, reports[index * len(reports) // count] if reports else None
            )
            for index, each in enumerate(response.explanations)
        ),
        reports=reports,
        inputs=inputs,
        seed=response.seed,
        timings=_decode_timings(response.timings),
        request_id=response.request_id,
        cache=_CACHE.get(response.cache, CacheStatus.UNKNOWN),
        predictions=_decode_predictions(response.predictions),
        outputs=_decode_tensors(response.outputs),
        warnings=tuple(response.warnings),
    )


def decode_event(
    response: explanation_service_pb2.ExplainStreamResponse, model: ModelInfo | None
) -> Event | None:
    """Decode an event of a stream; None for a kind that this client does not know."""
    match response.WhichOneof("event"):
        case "accepted":
            accepted = response.accepted
            return Accepted(
                request_id=accepted.request_id,
                rows=accepted.rows,
                rows_ahead=accepted.rows_ahead,
                position=accepted.position,
                seconds=accepted.seconds,
            )
        case "partial":
            partial = response.partial
            explanations = tuple(
                _decode_explanation(each, model, {}, None) for each in partial.explanations
            )
            return Partial(partial.rows_done, partial.rows, explanations)
        case "final":
            return Final(decode_explanations(response.final, model))
    return None


def lacks_names(explanations: Sequence[explanation_pb2.Explanation]) -> bool:
    """True if the reply names not every feature, or not every explained number."""
    return has_unnamed_features(explanations) or any(not each.label for each in explanations)


def has_unnamed_features(explanations: Iterable[explanation_pb2.Explanation]) -> bool:
    """True if an attribution may be tabular: the reply does not name its features."""
    return any(
        len(attribution.values.shape) == 1 and not attribution.tokens and not attribution.pairs
        for explanation in explanations
        for attribution in explanation.attributions
    )


def _decode_explanation(
    explanation: explanation_pb2.Explanation,
    model: ModelInfo | None,
    inputs: Arrays,
    report: MethodReport | None,
) -> Explanation:
    features = {each.name: _features(each) for each in model.inputs} if model else {}
    return Explanation(
        method=explanation.method,
        example=explanation.example,
        target=tuple(explanation.target),
        label=explanation.label,
        attributions={
            each.values.name: _decode_attribution(each, features.get(each.values.name, ()))
            for each in explanation.attributions
        },
        output=explanation.output if explanation.HasField("output") else None,
        baseline_output=(
            explanation.baseline_output if explanation.HasField("baseline_output") else None
        ),
        error=_decode_error(explanation.error),
        report=report,
        inputs={
            name: array[explanation.example]
            for name, array in inputs.items()
            if explanation.example < len(array)
        },
        output_name="" if model is None or explanation.label else _output_name(explanation, model),
    )


def _output_name(explanation: explanation_pb2.Explanation, model: ModelInfo) -> str:
    """Return the name of the explained number; of an output of several, with its place."""
    if not model.outputs:
        return ""
    output = model.outputs[0]
    if all(size == 1 for size in output.shape[1:]):
        return output.name
    return f"{output.name}[{', '.join(map(str, explanation.target))}]"


def _features(described: InputInfo) -> tuple[Feature, ...]:
    units = described.units or ("",) * len(described.features)
    return tuple(map(Feature, described.features, units))


def _decode_attribution(
    attribution: explanation_pb2.Attribution, features: tuple[Feature, ...]
) -> Attribution:
    indices = decode_tensor(attribution.indices) if attribution.HasField("indices") else None
    return Attribution(
        values=decode_tensor(attribution.values),
        indices=indices,
        standard_errors=(
            decode_tensor(attribution.standard_errors)
            if attribution.HasField("standard_errors")
            else None
        ),
        tokens=_decode_tokens(attribution, indices),
        features=tuple(map(Feature, attribution.features)) if attribution.pairs else features,
        pairs=attribution.pairs,
    )


def _decode_tokens(
    attribution: explanation_pb2.Attribution, indices: npt.NDArray[Any] | None
) -> tuple[Token, ...]:
    starts, ends = attribution.token_starts, attribution.token_ends
    if not len(attribution.tokens) == len(starts) == len(ends):
        raise Internal("the server sent tokens without their places in the text")
    tokens = tuple(map(Token, attribution.tokens, starts, ends))
    if indices is None or not tokens or len(tokens) == indices.size:
        return tokens
    # The server names all tokens, but sends the attributions of some only.
    return tuple(tokens[index] for index in indices.ravel().tolist())


def _decode_error(error: explanation_pb2.ExplanationError) -> ExplanationError | None:
    relative = error.relative if error.HasField("relative") else None
    if error.kind == explanation_pb2.ERROR_KIND_UNSPECIFIED:
        return None if relative is None else ExplanationError(ErrorKind.NONE, math.nan, relative)
    kind = _ERROR_KINDS.get(error.kind, ErrorKind.UNKNOWN)
    return ExplanationError(kind, error.value, relative)


def _decode_report(report: explanation_pb2.MethodReport) -> MethodReport:
    return MethodReport(
        method=decode_method(report.method),
        rows_used=report.rows_used,
        stop_reason=_STOP_REASONS.get(report.stop_reason, StopReason.UNKNOWN),
        uncovered_ops=tuple(report.uncovered_ops),
        non_finite=report.non_finite,
    )


def _decode_predictions(
    predictions: Iterable[explanation_service_pb2.Prediction],
) -> tuple[tuple[LabelScore, ...], ...]:
    return tuple(
        tuple(_decode_label_score(each) for each in prediction.labels) for prediction in predictions
    )


def _decode_label_score(score: explanation_service_pb2.LabelScore) -> LabelScore:
    probability = score.probability if score.HasField("probability") else None
    return LabelScore(score.index, score.label, score.score, probability)


def _decode_timings(timings: explanation_pb2.Timings) -> Timings:
    return Timings(
        queue_s=timings.queue_seconds,
        compute_s=timings.compute_seconds,
        total_s=timings.total_seconds,
        batches=timings.batches,
    )


def _decode_tensors(tensors: Iterable[tensor_pb2.Tensor]) -> Arrays:
    return {tensor.name: decode_tensor(tensor) for tensor in tensors}
