"""Explanations: an attribution of one example -> its message, written in place."""

from functools import lru_cache
from typing import Final, NamedTuple

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
    StopReason.UNFINISHED: explanation_pb2.STOP_REASON_UNSPECIFIED,
}

MOST_FORMS: Final = 4096
"""The most forms of explanations that are kept serialised, of some hundred bytes each."""


class _Form(NamedTuple):
    """The common part of explanations of one output: all but their numbers."""

    target: int
    output: tuple[int, ...]
    label: str
    reason: StopReason
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    datatype: str


class PieceWriter:
    """Writes the explanations of a piece.

    Attributes:
        piece: The piece.
        attribution: Its attribution.
        numbers: The numbers of it.
        count: The number of its examples.
    """

    __slots__ = (
        "_as_values", "_form", "_index", "_indices", "_labels", "_most", "_names", "_parsed",
        "_shapes", "attribution", "count", "numbers", "piece",
    )  # fmt: skip

    def __init__(self, parsed: ParsedRequest, piece: Piece, attribution: Attribution) -> None:
        self.piece = piece
        self.attribution = attribution
        self.numbers = numbers = PieceNumbers.of(parsed, piece, attribution)
        self.count = len(numbers.values[0])
        question, declaration = parsed.question, parsed.model.loaded.declaration
        self._parsed = parsed
        self._most = question.output.max_features
        self._as_values = as_values = parsed.inputs.as_values
        of_inputs = question.layer is None or question.methods[piece.method].abilities.of_inputs
        # At an embedding methods explain the first input alone.
        inputs = declaration.inputs[: len(numbers.values)]
        self._names = tuple([each.name for each in inputs]) if of_inputs else None
        self._labels = declaration.outputs[0].labels
        # A neuron is no output.
        chosen = isinstance(piece.explicand.target, Output)
        self._indices: list[list[int]] | None = piece.indices.tolist() if chosen else None
        plain = of_inputs and not (as_values or self._most or numbers.errors or attribution.pairs)
        self._form = b""
        self._index: list[int] | None = None
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        if plain and piece.part.inputs.texts is None:
            self._shapes = tuple([array.shape[1:] for array in numbers.values])

    def write(self, into: explanation_pb2.Explanation, example: int, *, ended: bool) -> None:
        """Writes the explanation of an example.

        Args:
            into: An empty message.
            example: The example's place in the piece.
            ended: Whether the explanation has ended, for a reason.
        """
        numbers, attribution, shapes = self.numbers, self.attribution, self._shapes
        index = None if self._indices is None else self._indices[example]
        reasons = attribution.stop_reasons
        if not self._form or reasons or index != self._index:
            reason = reasons[example] if reasons else attribution.stop_reason
            self._form = self._form_of(index, reason if ended else StopReason.UNFINISHED)
            self._index = index
        # Parsing kept bytes is faster than assigning one field after the other.
        into.MergeFromString(self._form)
        into.example = self.piece.part.first + example
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
        if shapes is not None:
            for message, array in zip(into.attributions, numbers.values, strict=True):
                message.values.data = array[example].tobytes()
        elif attribution.pairs:
            self._write_interactions(into.interactions, example)
        else:
            for part in range(len(numbers.values)):
                self._write_attribution(into.attributions.add(), example, part)

    def _form_of(self, index: list[int] | None, reason: StopReason) -> bytes:
        """Returns the common part of explanations of an output, serialised."""
        labels, shapes = self._labels, self._shapes
        label = labels[index[0]] if labels and index is not None and len(index) == 1 else ""
        form = _Form(
            self.piece.target,
            tuple(index or ()),
            label,
            reason,
            self._names if shapes is not None and self._names is not None else (),
            shapes or (),
            self._parsed.question.output.datatype,
        )
        return _serialised(form)

    def _write_interactions(self, into: explanation_pb2.Interactions, example: int) -> None:
        numbers = self.numbers
        values = numbers.values[0][example]
        errors = numbers.errors[0][example] if numbers.errors else None
        names = feature_names(self._parsed, self.piece, len(values))
        most = self._most
        if most:
            kept = _largest(np.abs(values).sum(1), most)
            names = [names[place] for place in kept]
            values = values[np.ix_(kept, kept)]
            errors = None if errors is None else errors[np.ix_(kept, kept)]
        into.features.extend(names)
        tensor_writer.write_array(into.values, values, as_values=self._as_values)
        if errors is not None:
            tensor_writer.write_array(into.standard_errors, errors, as_values=self._as_values)

    def _write_attribution(
        self, into: explanation_pb2.Attribution, example: int, part: int
    ) -> None:
        numbers = self.numbers
        values = numbers.values[part][example]
        errors = numbers.errors[part][example] if numbers.errors else None
        if self._names is not None:
            into.name = self._names[part]
            texts = self.piece.part.inputs.texts
            if texts is not None:
                length = len(texts.texts[example].tokens)
                values, errors = values[:length], None if errors is None else errors[:length]
        else:
            into.name = str(self._parsed.layer.layer) if self._parsed.layer is not None else ""
            into.part = part
        most = self._most
        if most:
            kept = _largest(values, most)
            into.indices.extend(kept.tolist())
            into.shape.extend(values.shape)
            values = values.reshape(-1)[kept]
            errors = None if errors is None else errors.reshape(-1)[kept]
        tensor_writer.write_array(into.values, values, as_values=self._as_values)
        if errors is not None:
            tensor_writer.write_array(into.standard_errors, errors, as_values=self._as_values)


def _largest(values: Array, most: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Returns the places of the numbers of largest magnitude, largest first; NaN comes last."""
    magnitudes = np.abs(values.reshape(-1))
    magnitudes[np.isnan(magnitudes)] = -1
    if most < len(magnitudes):
        some = np.sort(np.argpartition(magnitudes, -most)[-most:])
        return some[np.argsort(-magnitudes[some], kind="stable")]
    return np.argsort(-magnitudes, kind="stable")


@lru_cache(maxsize=MOST_FORMS)
def _serialised(form: _Form) -> bytes:
    message = explanation_pb2.Explanation(
        target=form.target,
        index=form.output,
        label=form.label,
        stop_reason=STOP_REASONS[form.reason],
    )
    for name, shape in zip(form.names, form.shapes, strict=True):
        attribution = message.attributions.add(name=name)
        attribution.values.datatype = form.datatype
        attribution.values.shape.extend(shape)
    return message.SerializeToString()
