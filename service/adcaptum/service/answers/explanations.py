"""Explanations: an attribution of one example -> its message, written in place."""

from functools import lru_cache
from typing import Final

import numpy as np

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.engine.vocabulary.target import Output
from adcaptum.service.answers.answer_form import answer_form
from adcaptum.service.answers.feature_names import feature_names
from adcaptum.service.answers.piece_numbers import Array, PieceNumbers
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire import tensor_writer
from adcaptum.service.wire.field_writer import begin, double, varint
from adcaptum.v1 import explanation_pb2, tensor_pb2

STOP_REASONS: Final = {
    StopReason.COMPLETED: explanation_pb2.STOP_REASON_COMPLETED,
    StopReason.CONVERGED: explanation_pb2.STOP_REASON_CONVERGED,
    StopReason.EXHAUSTED: explanation_pb2.STOP_REASON_EXHAUSTED,
    StopReason.BUDGET: explanation_pb2.STOP_REASON_BUDGET,
    StopReason.DEADLINE: explanation_pb2.STOP_REASON_DEADLINE,
    StopReason.UNFINISHED: explanation_pb2.STOP_REASON_UNSPECIFIED,
}

MOST_FORMS: Final = 4096
"""The most forms of explanations, and of attributions, that are kept serialised: some hundred bytes
each."""

EXAMPLE: Final = b"\x08"
"""The tag of `Explanation.example`."""

ATTRIBUTIONS: Final = explanation_pb2.Explanation.ATTRIBUTIONS_FIELD_NUMBER
ERROR: Final = explanation_pb2.Explanation.ERROR_FIELD_NUMBER

_Attribution = tuple[bytes, int, bytes | memoryview]
"""The bytes that all examples share, the size of the data of each, and the data of all."""


class PieceWriter:
    """Writes the explanations of a piece.

    Most explanations differ in their numbers alone: these are put between bytes that are kept. All
    others, and what is rare, are messages that are filled and serialised.

    Attributes:
        piece: The piece.
        attribution: Its attribution.
        numbers: The numbers of it.
        count: The number of its examples.
    """

    __slots__ = (
        "_as_values", "_attributions", "_form", "_head", "_index", "_indices", "_parsed",
        "attribution", "count", "numbers", "piece",
    )  # fmt: skip

    def __init__(self, parsed: ParsedRequest, piece: Piece, attribution: Attribution) -> None:
        self._parsed = parsed
        self._form = form = answer_form(parsed)
        self.piece = piece
        self.attribution = attribution
        self.numbers = numbers = PieceNumbers(form, piece, attribution)
        self.count = len(numbers.values[0])
        self._as_values = as_values = parsed.inputs.as_values
        self._head = b""
        self._index = form.indices.get(piece.target)
        self._indices: list[list[int]] | None = None
        # A neuron is no output.
        if self._index is None and isinstance(piece.explicand.target, Output):
            self._indices = piece.indices.tolist()
        self._attributions: list[_Attribution] = []
        if form.plain[piece.method] and not (as_values or numbers.errors or attribution.pairs):
            self._attributions = [
                _kept_attribution(part.name, form.datatype, array)
                for part, array in zip(form.parts[piece.method], numbers.values, strict=True)
            ]

    def serialised(self, example: int, *, ended: bool, shown: int | None = None) -> bytes:
        """Returns the explanation of an example, serialised.

        Args:
            example: The example's place in the piece.
            ended: Whether the explanation has ended, for a reason.
            shown: The example's place in the request; None: the piece's part says it.
        """
        if shown is None:
            shown = self.piece.part.first + example
        numbers, attribution = self.numbers, self.attribution
        reasons = attribution.stop_reasons
        if not self._head or reasons or self._indices is not None:
            reason = reasons[example] if reasons else attribution.stop_reason
            index = self._index if self._indices is None else tuple(self._indices[example])
            self._head = self._head_of(index or (), reason if ended else StopReason.UNFINISHED)
        parts: list[bytes | memoryview] = [self._head, EXAMPLE, varint(shown)]
        for field, each in numbers.outputs:
            parts.append(double(field, each[example]))
        if numbers.error:
            of_error = [double(field, each[example]) for field, each in numbers.error]
            parts += (begin(ERROR, sum(map(len, of_error))), *of_error)
        if not self._attributions:
            return b"".join(parts) + self._others(example)
        for head, size, data in self._attributions:
            parts += (head, data[example * size : (example + 1) * size])
        return b"".join(parts)

    def _others(self, example: int) -> bytes:
        """Returns attributions that are not kept as bytes, or interactions."""
        message = explanation_pb2.Explanation()
        if self.attribution.pairs:
            self._write_interactions(message.interactions, example)
        else:
            for part in range(len(self.numbers.values)):
                self._write_attribution(message.attributions.add(), example, part)
        return message.SerializeToString()

    def _head_of(self, index: tuple[int, ...], reason: StopReason) -> bytes:
        """Returns the common part of explanations of an output: all but their numbers."""
        labels = self._form.labels
        label = labels[index[0]] if labels and len(index) == 1 else ""
        return _head(self.piece.target, index, label, reason)

    def _write_interactions(self, into: explanation_pb2.Interactions, example: int) -> None:
        numbers = self.numbers
        values = numbers.values[0][example]
        errors = numbers.errors[0][example] if numbers.errors else None
        names = feature_names(self._parsed, self.piece, len(values))
        most = self._form.most
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
        if self._form.at_inputs[self.piece.method]:
            own = self._form.parts[self.piece.method][part]
            into.name = own.name
            inputs = self.piece.part.inputs
            texts = inputs.texts
            if texts is not None and own.place == inputs.text_place:
                length = len(texts.texts[example].tokens)
                values, errors = values[:length], None if errors is None else errors[:length]
        else:
            into.name = str(self._parsed.layer.layer) if self._parsed.layer is not None else ""
            into.part = part
        most = self._form.most
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
def _head(target: int, index: tuple[int, ...], label: str, reason: StopReason) -> bytes:
    """Serialises the common part of explanations of an output."""
    message = explanation_pb2.Explanation(
        target=target, index=index, label=label, stop_reason=STOP_REASONS[reason]
    )
    return message.SerializeToString()


def _kept_attribution(name: str, datatype: str, array: Array) -> _Attribution:
    """Serialises the attributions of all examples to an input."""
    size, data = array.nbytes, array.tobytes()
    if len(array) == 1:
        return attribution_begin(name, datatype, array.shape[1:], size), size, data
    size //= len(array) or 1
    return attribution_begin(name, datatype, array.shape[1:], size), size, memoryview(data)


@lru_cache(maxsize=MOST_FORMS)
def attribution_begin(name: str, datatype: str, shape: tuple[int, ...], size: int) -> bytes:
    """Serialises an attribution up to its data, of `size` bytes, as a field of an explanation."""
    tensor = tensor_pb2.Tensor(datatype=datatype, shape=shape).SerializeToString()
    tensor += begin(tensor_pb2.Tensor.DATA_FIELD_NUMBER, size)
    own = explanation_pb2.Attribution(name=name).SerializeToString()
    values = explanation_pb2.Attribution.VALUES_FIELD_NUMBER
    own += begin(values, len(tensor) + size) + tensor
    return begin(ATTRIBUTIONS, len(own) + size) + own
