"""Decoding of replies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.descriptions import decode_identity
from adcaptum.client.codec.methods import decode_method
from adcaptum.client.codec.tensors import decode_tensor
from adcaptum.client.codec.words import words_of
from adcaptum.client.errors import Internal
from adcaptum.client.results.explanation import (
    Attribution,
    ErrorEstimate,
    Explanation,
    Interactions,
    MethodReport,
    StopReason,
    Token,
)
from adcaptum.client.results.explanations import CacheStatus, Explanations
from adcaptum.client.results.method_result import Failure, MethodResult
from adcaptum.client.results.prediction import LabelScore, PredictResult
from adcaptum.client.results.sequence import DecodedSequence
from adcaptum.client.results.timings import Timings
from adcaptum.v1 import explanation_pb2, explanation_service_pb2, tensor_pb2

Arrays = dict[str, npt.NDArray[Any]]

_STOP_REASONS = words_of(explanation_pb2.StopReason, "STOP_REASON_", StopReason)
_CACHE = words_of(explanation_pb2.CacheStatus, "CACHE_STATUS_", CacheStatus)
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_ALL_EXAMPLES: Final = -1
_NO_COLUMNS: Final[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())


class ResultDecoder:
    """Decodes the results of one reply with the facts that they share.

    The names of features stand in the reply once per input, or per example, not once per
    explanation.
    """

    def __init__(
        self,
        features: Sequence[explanation_pb2.InputFeatures],
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        """Take the facts.

        Args:
            features: The names of the features.
            inputs: The inputs after preprocessing, where they were returned.
            outputs: The outputs, where they were returned; the first is the explained one.
        """
        self._features = features
        # Of tables, whose columns all examples share.
        self._columns: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._inputs = inputs
        self._output = next(iter(outputs.items()), None)

    def result(self, message: explanation_pb2.MethodResult) -> MethodResult:
        """Decode the result of a method; its explanations when they are read."""
        report = MethodReport(
            method=decode_method(message.method),
            rows_used=message.rows_used if message.HasField("rows_used") else None,
            stop_reason=_STOP_REASONS.get(message.stop_reason, StopReason.UNKNOWN),
            uncovered_ops=tuple(message.uncovered_ops),
            non_finite=message.non_finite,
        )
        return MethodResult(
            report=report,
            explanations=DecodedSequence(
                message.explanations, lambda each: self._explanation(each, report)
            ),
            failure=_decode_failure(message.failure) if message.HasField("failure") else None,
        )

    def _explanation(
        self, message: explanation_pb2.Explanation, report: MethodReport
    ) -> Explanation:
        example = message.example
        return Explanation(
            method=report.method,
            example=example,
            target=message.target,
            index=tuple(message.index),
            label=message.label,
            attributions=self._attributions(message),
            interactions=(
                _decode_interactions(message.interactions)
                if message.HasField("interactions")
                else None
            ),
            output=message.output if message.HasField("output") else None,
            baseline_output=(
                message.baseline_output if message.HasField("baseline_output") else None
            ),
            error=_decode_error(message.error) if message.HasField("error") else None,
            stop_reason=_STOP_REASONS.get(message.stop_reason, StopReason.UNKNOWN),
            report=report,
            inputs=self._inputs_of(example) if self._inputs else {},
            output_name=self._output_name(message),
        )

    def _inputs_of(self, example: int) -> Arrays:
        return {
            name: array[example] for name, array in self._inputs.items() if example < len(array)
        }

    def _output_name(self, message: explanation_pb2.Explanation) -> str:
        """Return the name of the explained number; of an output of several, with its index."""
        if self._output is None or message.label:
            return ""
        name, values = self._output
        if all(size == 1 for size in values.shape[1:]):
            return name
        return f"{name}[{', '.join(map(str, message.index))}]" if message.index else ""

    def _attributions(self, message: explanation_pb2.Explanation) -> dict[str, Attribution]:
        decoded = [self._attribution(each, message.example) for each in message.attributions]
        if len(decoded) == 1:
            return {decoded[0].name: decoded[0]}
        several = {each.name for each in decoded if each.part}
        return {
            f"{each.name}[{each.part}]" if each.name in several else each.name: each
            for each in decoded
        }

    def _attribution(self, message: explanation_pb2.Attribution, example: int) -> Attribution:
        name, shape = message.name, tuple(message.shape)
        indices = np.array(message.indices, np.int32) if shape else None
        tokens: tuple[Token, ...] = ()
        columns = self._columns.get(name, _NO_COLUMNS)
        if columns is _NO_COLUMNS and self._features:
            tokens, columns = self._names_of(name, example, indices)
        return Attribution(
            values=decode_tensor(message.values),
            standard_errors=(
                decode_tensor(message.standard_errors)
                if message.HasField("standard_errors")
                else None
            ),
            indices=indices,
            shape=shape,
            features=columns[0],
            units=columns[1],
            tokens=tokens,
            name=name,
            part=message.part,
        )

    @cached_property
    def _named(self) -> dict[tuple[str, int], explanation_pb2.InputFeatures]:
        """The names by input and example."""
        return {
            (each.input, each.example if each.HasField("example") else _ALL_EXAMPLES): each
            for each in self._features
        }

    def _names_of(
        self, name: str, example: int, indices: npt.NDArray[Any] | None
    ) -> tuple[tuple[Token, ...], tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the tokens of a text, or the names and units of a table's columns."""
        named = self._named.get((name, example)) or self._named.get((name, _ALL_EXAMPLES))
        if named is None:
            return (), _NO_COLUMNS
        if named.starts or named.ends:
            return _decode_tokens(named, indices), _NO_COLUMNS
        columns = self._columns[name] = (tuple(named.names), tuple(named.units))
        return (), columns


def decode_prediction(response: explanation_service_pb2.PredictResponse) -> PredictResult:
    """Decode a prediction."""
    return PredictResult(
        model=decode_identity(response.model),
        outputs=_decode_tensors(response.outputs),
        predictions=DecodedSequence(response.predictions, _decode_labels),
        timings=_decode_timings(response.timings),
        request_id=response.request_id,
        warnings=tuple(response.warnings),
        message=response,
    )


def decode_explanations(response: explanation_service_pb2.ExplainResponse) -> Explanations:
    """Decode the answer to a request for explanations; its parts when they are read."""
    return Explanations.received(response, _PARTS)


def _decode_results(answer: Explanations) -> Sequence[MethodResult]:
    message = answer.message
    decoder = ResultDecoder(message.features, answer.inputs, answer.outputs)
    return DecodedSequence(message.results, decoder.result)


def _decode_failure(failure: explanation_pb2.Failure) -> Failure:
    code = _CODES.get(failure.code, str(failure.code))
    return Failure(code, failure.reason, failure.message, failure.field)


def _decode_error(error: explanation_pb2.ErrorEstimate) -> ErrorEstimate:
    return ErrorEstimate(
        error.completeness if error.HasField("completeness") else None,
        error.standard_error if error.HasField("standard_error") else None,
        error.relative if error.HasField("relative") else None,
    )


def _decode_interactions(message: explanation_pb2.Interactions) -> Interactions:
    return Interactions(
        features=tuple(message.features),
        values=decode_tensor(message.values),
        standard_errors=(
            decode_tensor(message.standard_errors) if message.HasField("standard_errors") else None
        ),
    )


def _decode_tokens(
    named: explanation_pb2.InputFeatures, indices: npt.NDArray[Any] | None
) -> tuple[Token, ...]:
    if not len(named.names) == len(named.starts) == len(named.ends):
        raise Internal("the server sent tokens without their places in the text")
    tokens = tuple(map(Token, named.names, named.starts, named.ends))
    if indices is None:
        return tokens
    # The server names all tokens, but sends the attributions of some only.
    return tuple(tokens[index] for index in indices.tolist())


def _decode_labels(prediction: explanation_pb2.Prediction) -> tuple[LabelScore, ...]:
    return tuple(
        LabelScore(
            each.index,
            each.label,
            each.score,
            each.probability if each.HasField("probability") else None,
        )
        for each in prediction.labels
    )


def _decode_timings(timings: explanation_pb2.Timings) -> Timings:
    return Timings(
        timings.queue_seconds, timings.compute_seconds, timings.total_seconds, timings.batches
    )


def _decode_tensors(tensors: Iterable[tensor_pb2.Tensor]) -> Arrays:
    return {tensor.name: decode_tensor(tensor) for tensor in tensors}


_PARTS: Final[Mapping[str, Callable[[Explanations], Any]]] = {
    "model": lambda answer: decode_identity(answer.message.model),
    "results": _decode_results,
    "inputs": lambda answer: _decode_tensors(answer.message.inputs),
    "seed": lambda answer: answer.message.seed,
    "timings": lambda answer: _decode_timings(answer.message.timings),
    "request_id": lambda answer: answer.message.request_id,
    "cache": lambda answer: _CACHE.get(answer.message.cache, CacheStatus.UNKNOWN),
    "predictions": lambda answer: DecodedSequence(answer.message.predictions, _decode_labels),
    "outputs": lambda answer: _decode_tensors(answer.message.outputs),
    "warnings": lambda answer: tuple(answer.message.warnings),
}
