"""Results of the engine -> messages of the answer."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, ErrorKind, StopReason
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.answer_warnings import non_finite
from adcaptum.service.requests.feature_names import feature_names
from adcaptum.service.requests.parsed_request import ParsedRequest, dtype_of
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, tensor_pb2

ERROR_KINDS: Final = {
    ErrorKind.COMPLETENESS: explanation_pb2.ERROR_KIND_COMPLETENESS,
    ErrorKind.STANDARD_ERROR: explanation_pb2.ERROR_KIND_STANDARD_ERROR,
}
STOP_REASONS: Final = {
    StopReason.CONVERGED: explanation_pb2.STOP_REASON_CONVERGED,
    StopReason.BUDGET: explanation_pb2.STOP_REASON_BUDGET,
    StopReason.DEADLINE: explanation_pb2.STOP_REASON_DEADLINE,
}
STOPPED: Final = {wire: reason for reason, wire in STOP_REASONS.items()}
DEFAULT_TOP_K: Final = 5


def explanations(
    parsed: ParsedRequest, answered: Iterable[tuple[Piece, Attribution]]
) -> list[explanation_pb2.Explanation]:
    """Writes explanations, in the order of methods, examples and targets."""
    made = [
        (piece.method, piece.part.first + example, piece.target, piece, attribution, example)
        for piece, attribution in answered
        for example in range(piece.part.inputs.count)
    ]
    if len(made) > 1:
        made.sort(key=lambda each: each[:3])
    return [
        _explanation(parsed, piece, attribution, example)
        for _, _, _, piece, attribution, example in made
    ]


def reports(
    parsed: ParsedRequest, answered: Sequence[tuple[Piece, Attribution]]
) -> list[explanation_pb2.MethodReport]:
    """Writes the report of each method, in the request's order."""
    made, dtype = [], dtype_of(parsed.output)
    for index, method in enumerate(parsed.methods):
        own = [attribution for piece, attribution in answered if piece.method == index]
        made.append(
            explanation_pb2.MethodReport(
                method=method.spec,
                rows_used=sum(each.rows_used for each in own),
                stop_reason=STOP_REASONS[stop_reason(own)],
                uncovered_ops=sorted({op for each in own for op in each.uncovered_ops}),
                non_finite=sum(
                    [non_finite(values, dtype) for each in own for values in each.values]
                ),
            )
        )
    return made


def stop_reason(attributions: Iterable[Attribution]) -> StopReason:
    """Returns a method's stop reason: deadline or budget, if either cut an explanation short."""
    reasons = {each.stop_reason for each in attributions}
    for reason in (StopReason.DEADLINE, StopReason.BUDGET):
        if reason in reasons:
            return reason
    return StopReason.CONVERGED


def _explanation(
    parsed: ParsedRequest, piece: Piece, attribution: Attribution, example: int
) -> explanation_pb2.Explanation:
    declaration = parsed.model.loaded.declaration
    labels = declaration.outputs[0].labels
    # Equal targets of all examples are one row, expanded.
    target = piece.indices[example].tolist() if parsed.neuron is None else []
    output, baseline = attribution.output, attribution.baseline_output
    message = explanation_pb2.Explanation(
        method=parsed.methods[piece.method].spec.name,
        example=piece.part.first + example,
        target=target,
        label=labels[target[0]] if labels and len(target) == 1 else "",
        attributions=[
            _attribution(parsed, piece, attribution, example, index)
            for index in range(len(attribution.values))
        ],
        output=None if output is None else output[example].item(),
        baseline_output=None if baseline is None else baseline[example].item(),
    )
    if attribution.error is not None and attribution.error_kind in ERROR_KINDS:
        message.error.kind = ERROR_KINDS[attribution.error_kind]
        message.error.value = attribution.error[example].item()
    if attribution.relative_error is not None:
        message.error.relative = attribution.relative_error[example].item()
    return message


def _attribution(
    parsed: ParsedRequest, piece: Piece, attribution: Attribution, example: int, index: int
) -> explanation_pb2.Attribution:
    options = parsed.output
    values = attribution.values[index][example]
    errors = attribution.standard_errors[index][example] if attribution.standard_errors else None
    at_inputs = parsed.inside(piece.method) is None and not attribution.pairs
    texts = piece.part.inputs.texts if at_inputs else None
    if texts is not None:
        if values.ndim == 2:
            # Components of an embedding mean nothing by themselves.
            values, errors = values.sum(1), None if errors is None else errors.sum(1)
        length = len(texts.texts[example].tokens)
        values = values[:length]
        errors = None if errors is None else errors[:length]
    elif options.sum_channels and values.ndim == 3 and at_inputs:
        # The correlation of the channels' errors is unknown: their sum is a bound.
        values, errors = values.sum(0), None if errors is None else errors.sum(0)
    message = explanation_pb2.Attribution(pairs=attribution.pairs)
    if attribution.pairs:
        message.features.extend(feature_names(parsed, piece, len(values)))
    if options.top_features:
        shape, flat = values.shape, values.flatten()
        kept = flat.abs().topk(min(options.top_features, len(flat))).indices
        values = flat[kept]
        errors = None if errors is None else errors.flatten()[kept]
        message.indices.CopyFrom(tensors.encode(kept))
        message.shape.extend(shape)
    dtype = dtype_of(options)
    name = _name(parsed, piece, attribution, index)
    message.values.CopyFrom(tensors.encode(values.to(dtype), name))
    if errors is not None:
        message.standard_errors.CopyFrom(tensors.encode(errors.to(dtype)))
    if texts is not None:
        text = texts.texts[example]
        message.tokens.extend(text.tokens)
        message.token_starts.extend(text.starts)
        message.token_ends.extend(text.ends)
    return message


def _name(parsed: ParsedRequest, piece: Piece, attribution: Attribution, index: int) -> str:
    declared = parsed.model.loaded.declaration.inputs
    site = parsed.inside(piece.method)
    if site is not None:
        several = len(attribution.values) > 1
        return f"{site.layer}[{index}]" if several else str(site.layer)
    if attribution.pairs:
        return " and ".join(each.name for each in declared)
    return declared[index].name


def predictions(model: ServedModel, outputs: Tensor, top_k: int) -> list[pb.Prediction]:
    """Writes the largest outputs of each example, `(examples, classes)`; nothing without labels."""
    declared = model.loaded.declaration.outputs[0]
    if not declared.labels or outputs.ndim != 2:
        return []
    most = min(top_k or DEFAULT_TOP_K, outputs.shape[1])
    # Of a few numbers each operation of PyTorch's takes longer than all of these.
    scores = outputs.double().cpu().numpy()
    order = (-scores).argsort(axis=1, kind="stable")[:, :most].tolist()
    likely = _likely(scores, declared.kind)
    return [
        pb.Prediction(
            labels=[
                pb.LabelScore(
                    index=index,
                    label=declared.labels[index],
                    score=row[index],
                    probability=None if likely is None else likely[example][index],
                )
                for index in order[example]
            ]
        )
        for example, row in enumerate(scores.tolist())
    ]


def _likely(scores: NDArray[np.float64], kind: str) -> list[list[float]] | None:
    """Returns the probability of each class, `(examples, classes)`; None if it is not known."""
    if kind == "probabilities":
        return cast("list[list[float]]", scores.tolist())
    if kind != "logits":
        return None
    with np.errstate(invalid="ignore"):
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cast("list[list[float]]", (odds / odds.sum(axis=1, keepdims=True)).tolist())


def shown_outputs(
    parsed: ParsedRequest, outputs: Tensor | None
) -> tuple[list[pb.Prediction], list[tensor_pb2.Tensor]]:
    """Writes predictions and outputs, as far as they are known and wanted."""
    if outputs is None or not parsed.shows_outputs:
        return [], []
    model, options = parsed.model, parsed.output
    unwanted = options.HasField("return_predictions") and not options.return_predictions
    name = model.loaded.declaration.outputs[0].name
    return (
        [] if unwanted else predictions(model, outputs, options.top_k),
        [tensors.encode(outputs, name)] if options.return_outputs else [],
    )


def error_ratios(attribution: Attribution) -> list[float]:
    """Returns each example's error over |output - baseline output|, where all three are known."""
    error, output, baseline = attribution.error, attribution.output, attribution.baseline_output
    if error is None or output is None or baseline is None:
        return []
    differences = zip(error.tolist(), output.tolist(), baseline.tolist(), strict=True)
    return [
        value / abs(at_input - at_baseline)
        for value, at_input, at_baseline in differences
        if at_input != at_baseline and math.isfinite(value)
    ]
