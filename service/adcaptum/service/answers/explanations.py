"""Explanations: an attribution of one example -> its message, written in place."""

from typing import Final

import numpy as np

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.engine.vocabulary.target import Output
from adcaptum.service.answers.feature_names import feature_names
from adcaptum.service.answers.piece_numbers import Array, PieceNumbers
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire import tensor_writer
from adcaptum.v1 import explanation_pb2

STOP_REASONS: Final = {
    StopReason.COMPLETED: explanation_pb2.STOP_REASON_COMPLETED,
    StopReason.CONVERGED: explanation_pb2.STOP_REASON_CONVERGED,
    StopReason.EXHAUSTED: explanation_pb2.STOP_REASON_EXHAUSTED,
    StopReason.BUDGET: explanation_pb2.STOP_REASON_BUDGET,
    StopReason.DEADLINE: explanation_pb2.STOP_REASON_DEADLINE,
    StopReason.UNDER_WAY: explanation_pb2.STOP_REASON_UNSPECIFIED,
}


class PieceWriter:
    """Writes the explanations of a piece.

    Attributes:
        piece: The piece.
        numbers: Its numbers.
    """

    __slots__ = ("_attribution", "_indices", "_names", "_parsed", "_site", "numbers", "piece")

    def __init__(self, parsed: ParsedRequest, piece: Piece, attribution: Attribution) -> None:
        self.piece = piece
        self.numbers = PieceNumbers.of(parsed, piece, attribution)
        self._parsed = parsed
        self._attribution = attribution
        self._site = parsed.inside(piece.method)
        self._names = [each.name for each in parsed.model.loaded.declaration.inputs]
        # A neuron is no output. Equal targets of all examples are one row, expanded.
        chosen = isinstance(piece.explicand.target, Output)
        self._indices: list[list[int]] | None = piece.indices.tolist() if chosen else None

    def write(self, into: explanation_pb2.Explanation, example: int, *, ended: bool) -> None:
        """Writes the explanation of an example.

        Args:
            into: An empty message.
            example: The example's place in the piece.
            ended: Whether the explanation has ended, for a reason.
        """
        piece, numbers = self.piece, self.numbers
        into.example = piece.part.first + example
        into.target = piece.target
        if self._indices is not None:
            index = self._indices[example]
            into.index.extend(index)
            labels = self._parsed.model.loaded.declaration.outputs[0].labels
            if labels and len(index) == 1:
                into.label = labels[index[0]]
        if numbers.output is not None:
            into.output = numbers.output[example]
        if numbers.baseline_output is not None:
            into.baseline_output = numbers.baseline_output[example]
        if numbers.completeness is not None:
            into.error.completeness = numbers.completeness[example]
        if numbers.standard_error is not None:
            into.error.standard_error = numbers.standard_error[example]
        if numbers.relative is not None:
            into.error.relative = numbers.relative[example]
        if self._attribution.pairs:
            self._write_interactions(into.interactions, example)
        else:
            for part in range(len(numbers.values)):
                self._write_attribution(into.attributions.add(), example, part)
        if ended:
            into.stop_reason = STOP_REASONS[self._attribution.reason(example)]

    def _write_interactions(self, into: explanation_pb2.Interactions, example: int) -> None:
        parsed, numbers = self._parsed, self.numbers
        values = numbers.values[0][example]
        errors = numbers.errors[0][example] if numbers.errors else None
        names = feature_names(parsed, self.piece, len(values))
        most = parsed.output.max_features
        if most:
            kept = _largest(np.abs(values).sum(1), most)
            names = [names[place] for place in kept]
            values = values[np.ix_(kept, kept)]
            errors = None if errors is None else errors[np.ix_(kept, kept)]
        into.features.extend(names)
        tensor_writer.write_array(into.values, values, as_values=parsed.as_values)
        if errors is not None:
            tensor_writer.write_array(into.standard_errors, errors, as_values=parsed.as_values)

    def _write_attribution(
        self, into: explanation_pb2.Attribution, example: int, part: int
    ) -> None:
        parsed, numbers = self._parsed, self.numbers
        values = numbers.values[part][example]
        errors = numbers.errors[part][example] if numbers.errors else None
        if self._site is None:
            into.name = self._names[part]
            texts = self.piece.part.inputs.texts
            if texts is not None:
                length = len(texts.texts[example].tokens)
                values, errors = values[:length], None if errors is None else errors[:length]
        else:
            into.name = str(self._site.layer)
            into.part = part
        most = parsed.output.max_features
        if most:
            kept = _largest(values, most)
            into.indices.extend(kept.tolist())
            into.shape.extend(values.shape)
            values = values.reshape(-1)[kept]
            errors = None if errors is None else errors.reshape(-1)[kept]
        tensor_writer.write_array(into.values, values, as_values=parsed.as_values)
        if errors is not None:
            tensor_writer.write_array(into.standard_errors, errors, as_values=parsed.as_values)


def _largest(values: Array, most: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Returns the places of the numbers of largest magnitude, largest first; NaN comes last."""
    magnitudes = np.abs(values.reshape(-1))
    magnitudes[np.isnan(magnitudes)] = -1
    if most < len(magnitudes):
        some = np.sort(np.argpartition(magnitudes, -most)[-most:])
        return some[np.argsort(-magnitudes[some], kind="stable")]
    return np.argsort(-magnitudes, kind="stable")
