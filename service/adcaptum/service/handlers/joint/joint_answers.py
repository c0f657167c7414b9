"""Joint answers: the answers of members, written from numbers that are converted once for all.

What is the same in all of them (the model, the columns of tables, the methods, the seed) is kept
serialised.
"""

from typing import Final

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import furthest_short
from adcaptum.service.answers import results, warnings
from adcaptum.service.answers.answer_form import answer_form
from adcaptum.service.answers.explanations import PieceWriter
from adcaptum.service.answers.outcome import Outcome, stop_reason
from adcaptum.service.answers.piece_numbers import count_non_finite
from adcaptum.service.handlers import responses
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.wire import tensor_writer
from adcaptum.service.wire.field_writer import begin
from adcaptum.v1 import explanation_service_pb2 as pb

RESULTS: Final = pb.ExplainResponse.RESULTS_FIELD_NUMBER


class JointAnswers:
    """Writes the answer of each member of a joint explanation."""

    __slots__ = (
        "_differ", "_has_more", "_head", "_outcome", "_outputs", "_parsed", "_reasons",
        "_uncovered", "_writers",
    )  # fmt: skip

    def __init__(self, parsed: ParsedRequest, outcome: Outcome, outputs: Tensor | None) -> None:
        """Converts the numbers of all members.

        Args:
            parsed: The request that joins all of them.
            outcome: Its attributions, none of which failed.
            outputs: The model's outputs for its inputs, if requested.
        """
        self._parsed = parsed
        self._outcome = outcome
        self._outputs = outputs
        form = answer_form(parsed)
        self._head = form.model + form.seed
        self._writers = [
            [PieceWriter(parsed, piece, found) for piece, found in outcome.of(method)]
            for method in range(len(parsed.methods))
        ]
        each = [outcome.of(method) for method in range(len(parsed.methods))]
        self._reasons = [stop_reason(own) for own in each]
        self._uncovered = [
            tuple(op for _, found in own for op in found.uncovered_ops) for own in each
        ]
        self._differ = (
            any(found.stop_reasons for _, found in outcome.attributions)
            or any(writer.numbers.non_finite for own in self._writers for writer in own)
            or (outputs is not None and warnings.non_finite(outputs, outputs.dtype) > 0)
        )
        self._has_more = self._differ or parsed.output.return_inputs or (outputs is not None)

    def rows(self, method: int, count: int) -> int:
        """Returns a member's share of the rows of a method, rounded up.

        Args:
            method: The method's place.
            count: The number of the member's examples.
        """
        used = sum([found.rows_used for _, found in self._outcome.of(method)])
        return -(-used * count // self._parsed.inputs.count)

    def write(self, first: int, count: int) -> bytes:
        """Returns the answer of a member, serialised, without what each call has of its own.

        Args:
            first: The place of its first example.
            count: The number of its examples.
        """
        parts = [self._head]
        for index, (method, writers) in enumerate(
            zip(self._parsed.methods, self._writers, strict=True)
        ):
            own = [method.result]
            for example in range(count):
                for writer in writers:
                    data = writer.serialised(first + example, ended=True, shown=example)
                    own += (begin(results.EXPLANATIONS, len(data)), data)
            own.append(self._end(index, first, count))
            result = b"".join(own)
            parts += (begin(RESULTS, len(result)), result)
        if self._has_more:
            parts.append(self._rest(first, count, b"".join(parts)))
        return b"".join(parts)

    def _end(self, method: int, first: int, count: int) -> bytes:
        """Returns the fields of a result that stand for all of its explanations."""
        bad, reason = 0, self._reasons[method]
        if self._differ:
            own, places = self._outcome.of(method), range(first, first + count)
            reason = furthest_short([found.reason(place) for _, found in own for place in places])
            for writer in self._writers[method]:
                for values in writer.numbers.values:
                    bad += count_non_finite(values[first : first + count])
        return results.end(self.rows(method, count), bad, self._uncovered[method], reason)

    def _rest(self, first: int, count: int, written: bytes) -> bytes:
        """Returns the fields of an answer that most do not have.

        Args:
            first: The place of the member's first example.
            count: The number of its examples.
            written: The other fields.
        """
        rest = pb.ExplainResponse()
        outputs = None if self._outputs is None else self._outputs[first : first + count]
        responses.write_outputs(rest, self._parsed, outputs)
        if self._parsed.output.return_inputs:
            self._write_inputs(rest, first, count)
        if self._differ:
            found = pb.ExplainResponse.FromString(written).results
            rest.warnings.extend(warnings.of_explanation(self._parsed, found, outputs))
        return rest.SerializeToString()

    def _write_inputs(self, response: pb.ExplainResponse, first: int, count: int) -> None:
        declared = self._parsed.model.loaded.declaration.inputs
        for each, values in zip(declared, self._parsed.inputs.tensors, strict=True):
            tensor_writer.write(response.inputs.add(), values[first : first + count], each.name)
