"""Joint answers: the answers of members, written from numbers that are converted once for all.

What is the same in all of them (the model, the columns of tables, the methods, the seed) is
serialised once for each number of examples.
"""

from torch import Tensor

from adcaptum.engine.vocabulary.attribution import furthest_short
from adcaptum.service.answers import input_features, predictions, warnings
from adcaptum.service.answers.explanations import STOP_REASONS, PieceWriter
from adcaptum.service.answers.model_parts import model_parts
from adcaptum.service.answers.outcome import Outcome, stop_reason
from adcaptum.service.answers.piece_numbers import count_non_finite
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.wire import tensor_writer
from adcaptum.v1 import explanation_service_pb2 as pb


class JointAnswers:
    """Writes the answer of each member of a joint explanation."""

    __slots__ = ("_differ", "_outcome", "_outputs", "_parsed", "_templates", "_writers")

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
        self._templates: dict[int, bytes] = {}
        self._writers = [
            [PieceWriter(parsed, piece, found) for piece, found in outcome.of(method)]
            for method in range(len(parsed.methods))
        ]
        self._differ = (
            any(found.stop_reasons for _, found in outcome.attributions)
            or any(writer.numbers.non_finite for own in self._writers for writer in own)
            or (outputs is not None and warnings.non_finite(outputs, outputs.dtype) > 0)
        )

    def rows(self, method: int, count: int) -> int:
        """Returns a member's share of the rows of a method, rounded up.

        Args:
            method: The method's place.
            count: The number of the member's examples.
        """
        used = sum([found.rows_used for _, found in self._outcome.of(method)])
        return -(-used * count // self._parsed.inputs.count)

    def write(self, first: int, count: int) -> pb.ExplainResponse:
        """Returns the answer of a member, without what each call has of its own.

        Args:
            first: The place of its first example.
            count: The number of its examples.
        """
        response = pb.ExplainResponse()
        template = self._templates.get(count)
        if template is None:
            template = self._templates[count] = self._template(count)
        response.MergeFromString(template)
        for result, writers in zip(response.results, self._writers, strict=True):
            for example in range(count):
                for writer in writers:
                    explanation = result.explanations.add()
                    writer.write(explanation, first + example, ended=True)
                    explanation.example = example
        if self._outputs is not None and self._parsed.shows_outputs:
            self._write_outputs(response, self._outputs[first : first + count])
        if self._parsed.output.return_inputs:
            self._write_inputs(response, first, count)
        if self._differ:
            self._write_facts(response, first, count)
        return response

    def _template(self, count: int) -> bytes:
        parsed, message = self._parsed, pb.ExplainResponse()
        parts = model_parts(parsed.model)
        message.MergeFromString(parts.identity)
        if parts.columns and input_features.are_wanted(parsed):
            message.MergeFromString(parts.columns)
        message.seed = parsed.seed
        for index, method in enumerate(parsed.methods):
            own = self._outcome.of(index)
            result = message.results.add()
            result.MergeFromString(method.result)
            result.rows_used = self.rows(index, count)
            uncovered = {op for _, found in own for op in found.uncovered_ops}
            result.uncovered_ops.extend(sorted(uncovered))
            result.stop_reason = STOP_REASONS[stop_reason(own)]
        return message.SerializeToString()

    def _write_outputs(self, response: pb.ExplainResponse, outputs: Tensor) -> None:
        """Writes predictions and outputs, as far as they are wanted."""
        model, options = self._parsed.model, self._parsed.output
        if not options.HasField("return_predictions") or options.return_predictions:
            most = options.max_labels or predictions.MOST_LABELS
            predictions.write(response.predictions, model, outputs, most)
        if options.return_outputs:
            name = model.loaded.declaration.outputs[0].name
            tensor_writer.write(response.outputs.add(), outputs, name)

    def _write_inputs(self, response: pb.ExplainResponse, first: int, count: int) -> None:
        declared = self._parsed.model.loaded.declaration.inputs
        for each, values in zip(declared, self._parsed.inputs.tensors, strict=True):
            tensor_writer.write(response.inputs.add(), values[first : first + count], each.name)

    def _write_facts(self, response: pb.ExplainResponse, first: int, count: int) -> None:
        """Writes what differs between members: numbers that are not finite, and stop reasons."""
        places = range(first, first + count)
        for index, (result, writers) in enumerate(
            zip(response.results, self._writers, strict=True)
        ):
            bad = sum(
                [
                    count_non_finite(values[first : first + count])
                    for writer in writers
                    for values in writer.numbers.values
                ]
            )
            if bad:
                result.non_finite = bad
            reasons = [found.reason(at) for _, found in self._outcome.of(index) for at in places]
            result.stop_reason = STOP_REASONS[furthest_short(reasons)]
        outputs = None if self._outputs is None else self._outputs[first : first + count]
        found = warnings.of_explanation(self._parsed, response.results, outputs)
        response.warnings.extend(found)
