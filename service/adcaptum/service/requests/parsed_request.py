"""Parsed requests: Explain requests, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Neuron, Output, Site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.method import held_bytes, multiply_adds, value_bytes
from adcaptum.service.errors import InvalidRequest, ServiceError
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import field_paths, inputs as request_inputs
from adcaptum.service.requests.budgets import Budget
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.pieces import Part, Piece
from adcaptum.service.requests.questions import feature_masks, suitability
from adcaptum.service.requests.questions.baseline_reader import BaselineReader, at_layer
from adcaptum.service.requests.questions.baselines import Baselines
from adcaptum.service.requests.questions.feature_masks import FeatureMasks
from adcaptum.service.requests.questions.preparations import Preparation
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.requests.questions.targets import MOST_EXPLANATIONS, Targets
from adcaptum.service.requests.reading import Reading
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

NO_INDEX: Final = torch.zeros(1, 0, dtype=torch.int64)
"""The index of a number that is no output."""


@dataclass(frozen=True, slots=True, eq=False)
class ParsedRequest:
    """A request for explanations, read and checked.

    Attributes:
        model: The model that is explained.
        question: The question, without what depends on the inputs.
        inputs: The examples.
        parts: The examples that are explained together.
        lone_parts: Each example alone, for methods to which several baselines are a distribution,
            where each example has a baseline of its own; else `parts`.
        masks: The features of several elements; None: each element is one.
        planned_rows: The rows that each method plans for one target; 0 for failed ones.
        planned_multiply_adds: The multiply-adds of the methods' own mathematics for one target.
        planned_bytes: The memory that the methods hold while they run, for one target.
    """

    model: ServedModel
    question: Question
    inputs: Inputs
    parts: tuple[Part, ...]
    lone_parts: tuple[Part, ...]
    masks: FeatureMasks | None
    planned_rows: tuple[int, ...] = ()
    planned_multiply_adds: float = 0.0
    planned_bytes: int = 0

    @property
    def methods(self) -> tuple[ResolvedMethod, ...]:
        """The methods, each of which explains every example."""
        return self.question.methods

    @property
    def failures(self) -> Mapping[int, ServiceError]:
        """By their place, the methods that the model cannot run; at least one can."""
        return self.question.failures

    @property
    def targets(self) -> Targets:
        """The explained numbers of each example."""
        return self.question.targets

    @property
    def layer(self) -> Site | None:
        """The layer whose values are explained; None: the inputs."""
        return self.question.layer

    @property
    def seed(self) -> int:
        """The seed of all sampling."""
        return self.question.seed

    @property
    def budget(self) -> Budget:
        """The bounds of the cost."""
        return self.question.budget

    @property
    def output(self) -> explain_spec_pb2.OutputOptions:
        """The content of the reply."""
        return self.question.output

    @property
    def deterministic(self) -> bool:
        """True if the answer has to be the same to the last bit each time."""
        return self.question.deterministic

    @property
    def as_values(self) -> bool:
        """True if the reply's tensors come as `values`, because the inputs came so."""
        return self.inputs.as_values

    @property
    def needs_outputs(self) -> bool:
        """True if the targets depend on the values of the outputs."""
        return self.targets.needs_outputs

    @property
    def shows_outputs(self) -> bool:
        """True if the answer has outputs or predictions beside the explanations."""
        if self.output.return_outputs:
            return True
        if not self.model.loaded.declaration.outputs[0].labels:
            return False
        if self.output.HasField("return_predictions"):
            return self.output.return_predictions
        return self.needs_outputs or len(self.methods) > 1

    @property
    def held_bytes(self) -> int:
        """The memory that it holds while it runs, in bytes: its own, its answer's and methods'."""
        asked = self.needs_outputs or self.shows_outputs
        outputs = self.model.checks.output_bytes(self.inputs.count) if asked else 0
        # The inputs are in the message, too.
        message = sum([each.nbytes for each in self.inputs.tensors])
        return self.nbytes + message + outputs + self.targets.count * self.planned_bytes

    @property
    def nbytes(self) -> int:
        """The memory of the request and its answer, in bytes."""
        inputs = sum([each.nbytes for each in self.inputs.tensors])
        held = sum([each.nbytes for each in self.masks.tensors]) if self.masks else 0
        for part in self.parts:
            held += sum([each.nbytes for each in part.baselines.tensors])
        return held + inputs * (1 + len(self.methods) * self.targets.count)

    def inside(self, method: int) -> Site | None:
        """Returns the layer of the method's attributions; None: they are of the inputs."""
        return None if self.methods[method].abilities.of_inputs else self.layer

    def asks_outputs(self) -> Evaluation:
        """Returns the evaluation of the outputs."""
        return Evaluation(Given(self.inputs.tensors), arguments=self.inputs.arguments)

    def estimated_rows(self) -> dict[str, int]:
        """Estimates the rows that it takes, by kind, without those of the outputs.

        To a tolerance, as many as such requests have taken.
        """
        rows = {"forward": 0, "gradient": 0}
        for index, resolved in enumerate(self.methods):
            kind = "gradient" if resolved.method.traits.gradient else "forward"
            planned = self.planned_rows[index] * self.targets.count
            rows[kind] += self.model.row_forecasts.expected(
                resolved.spec.name, self.budget.tolerance, planned
            )
        return rows

    def estimated_multiply_adds(self) -> float:
        """Estimates the multiply-adds of its methods' own mathematics."""
        return self.targets.count * self.planned_multiply_adds

    def parts_of(self, method: int) -> tuple[Part, ...]:
        """Returns the examples that a method explains together."""
        return self.lone_parts if self.methods[method].abilities.distribution else self.parts

    def planned(self) -> Self:
        """Returns the request with its methods' planned rows; this takes a while for many texts.

        Raises:
            InvalidRequest: A method does not take the inputs, or what stands beside them.
        """
        dims = len(self.model.checks.output_shape)
        # Rows do not depend on the number that is explained.
        first = torch.zeros(1, dims, dtype=torch.int64).expand(self.inputs.count, dims)
        rows, operations, nbytes = [], 0.0, 0
        for index, resolved in enumerate(self.methods):
            if index in self.failures:
                rows.append(0)
                continue
            try:
                pieces = [self._piece(index, 0, first, part) for part in self.parts_of(index)]
                seen = [self._seen_by_method(each) for each in pieces]
                of_each = [resolved.method.rows(each) for each in seen]
                rows.append(sum(of_each))
                operations += sum([multiply_adds(resolved.method, each) for each in seen])
                nbytes += sum(map(self._held_bytes, pieces, of_each))
            except InvalidArgument as error:
                raise field_paths.invalid_request(error, self.question, index) from error
        return replace(
            self,
            planned_rows=tuple(rows),
            planned_multiply_adds=operations,
            planned_bytes=nbytes,
        )

    def rows(self, piece: Piece) -> int:
        """Estimates the rows that a piece takes."""
        return self.methods[piece.method].method.rows(self._seen_by_method(piece))

    def _held_bytes(self, piece: Piece, rows: int) -> int:
        """Estimates the memory that the flow of a piece holds."""
        method, explicand = self.methods[piece.method].method, piece.explicand
        at_site = self._with_values(explicand, explicand.at)
        if self.inside(piece.method) == self.layer:
            return held_bytes(method, at_site, rows)
        # The inputs are explained through a layer, whose values and gradients are read.
        return held_bytes(method, explicand, rows) + 2 * value_bytes(at_site)

    def _seen_by_method(self, piece: Piece) -> Explicand:
        """Returns the explicand with a layer's values, of which methods know nothing, as inputs."""
        return self._with_values(piece.explicand, self.inside(piece.method))

    def _with_values(self, explicand: Explicand, site: Site | None) -> Explicand:
        """Returns an explicand with the values at a site inside the model as inputs."""
        if site is None or site == INPUT:
            return explicand
        # At the site of inputs, each layer has the values of one input.
        layers = site.layer if isinstance(site.layer, tuple) else (site.layer,)
        places = self.model.inputs_at(site) if site == self.model.embedding else (0,)
        inside: list[Tensor] = []
        for layer, place in zip(layers, places, strict=True):
            shapes = self.model.checks.layer_shapes.get(replace(site, layer=layer))
            if shapes is None:
                return explicand
            values = explicand.inputs[place]
            seen, own = self.model.loaded.examples[place].shape[1:2], values.shape[1:2]
            dtype = values.dtype if values.is_floating_point() else torch.float32
            zero = values.new_zeros(1, dtype=dtype)
            # A layer that is as long as the example is as long as the input.
            lengths = [own + shape[1:] if shape[:1] == seen else shape for shape in shapes]
            inside += [zero.expand(explicand.count, *each) for each in lengths]
        return replace(explicand, inputs=tuple(inside))

    def pieces(self, outputs: Tensor | None) -> list[Piece]:
        """Returns the pieces: one for each method that can run, target and part.

        Args:
            outputs: The model's outputs, `(examples, *output)`, if `needs_outputs`.
        """
        chosen = self.targets.given(self.inputs.count, outputs)
        return [
            self._piece(method, target, number, part)
            for method in range(len(self.methods))
            if method not in self.failures
            for target, number in enumerate(chosen)
            for part in self.parts_of(method)
        ]

    def _piece(self, method: int, target: int, number: Tensor | Neuron, part: Part) -> Piece:
        resolved = self.methods[method]
        inputs, examples = part.inputs, self.inputs.count
        if isinstance(number, Neuron):
            own = NO_INDEX.expand(inputs.count, 0)
        else:
            own = number[part.first : part.first + inputs.count]
        at = self._site(resolved)
        masks = None
        if self.masks is not None:
            masks = self.masks.of_examples(part.first, inputs.count, examples)
        if inputs.texts is not None and at == INPUT:
            masks = feature_masks.with_tokens(masks, inputs)
        starts = part.starts
        explicand = Explicand(
            inputs=inputs.tensors,
            target=number if isinstance(number, Neuron) else Output(own),
            baselines=part.baselines.tensors,
            starts=None if starts is None else starts.tensors,
            background=bool((starts or part.baselines).distribution),
            at=at,
            arguments=inputs.arguments,
            feature_mask=masks,
            seed=self.seed,
            scales=self.model.scales if at == INPUT else None,
            tolerance=self.budget.tolerance,
        )
        return Piece(method, target, own, part, explicand)

    def _site(self, method: ResolvedMethod) -> Site:
        """Returns the site that a method sees: its neuron's, the question's, or the inputs."""
        through, layer = self.question.through, self.layer
        if method.abilities.through and through is not None:
            return through.site
        if layer is not None:
            return layer
        return self.model.site(gradient=method.method.traits.gradient)


def read(
    request: pb.ExplainRequest, model: ServedModel, question: Question, reading: Reading
) -> ParsedRequest:
    """Reads a request.

    Args:
        request: The request.
        model: The model that it names.
        question: Its question, resolved.
        reading: The bounds of reading it.

    Raises:
        InvalidRequest: Something in it is not allowed.
    """
    spec = question.spec
    inputs = request_inputs.read(request.inputs, model.loaded, reading)
    question.targets.check_examples(inputs.count)
    _check_explanations(question, inputs)
    preparations = question.preparations
    prepared = None if preparations is None else preparations.of(inputs)
    if prepared is not None:
        return _prepared(model, question, inputs, prepared)
    baselines = BaselineReader(model.loaded, inputs, question.seed, reading).read(spec.baselines)
    # Fields of a message that is not there cost a message.
    of_layer = question.layer is not None
    starts = at_layer(spec.site.baselines, inputs) if of_layer else None
    for each in question.methods:
        suitability.check_baselines(each.abilities, baselines, starts, inputs.count)
    masks = None
    if spec.feature_masks:
        masks = feature_masks.of_inputs(spec.feature_masks, model, inputs)
    elif of_layer:
        masks = feature_masks.of_layer(spec.site.feature_masks, inputs)
    parts = _parts(inputs, baselines, starts)
    lone_parts = parts
    if (starts or baselines).of_each and len(parts) == 1:
        lone_parts = _lone_parts(inputs, baselines, starts)
    parsed = ParsedRequest(model, question, inputs, parts, lone_parts, masks).planned()
    if preparations is not None:
        preparation = Preparation(
            baselines, parsed.planned_rows, parsed.planned_multiply_adds, parsed.planned_bytes
        )
        preparations.keep(inputs, preparation)
    return parsed


def _prepared(
    model: ServedModel, question: Question, inputs: Inputs, prepared: Preparation
) -> ParsedRequest:
    parts = (Part(0, inputs, prepared.baselines, None),)
    return ParsedRequest(
        model,
        question,
        inputs,
        parts,
        parts,
        None,
        prepared.planned_rows,
        prepared.planned_multiply_adds,
        prepared.planned_bytes,
    )


def _check_explanations(question: Question, inputs: Inputs) -> None:
    methods, numbers = len(question.methods), question.targets.count
    count = methods * numbers * inputs.count
    if count > MOST_EXPLANATIONS:
        raise InvalidRequest(
            "spec.targets",
            f"{methods} methods, {numbers} targets and {inputs.count} examples make {count} "
            f"explanations; at most {MOST_EXPLANATIONS} are allowed",
        )


def _parts(inputs: Inputs, baselines: Baselines, starts: Baselines | None) -> tuple[Part, ...]:
    if inputs.texts is None:
        return (Part(0, inputs, baselines, starts),)
    # Each text alone: at its own length, it shares batches with texts of that length, and its
    # answer does not depend on how long its neighbours are.
    parts = []
    for index in range(inputs.count):
        own, place = inputs.of_example(index), inputs.text_place
        compared = list(baselines.of_example(index, inputs.count).tensors)
        compared[place] = compared[place][:, : own.tensors[place].shape[1]]
        parts.append(
            Part(
                index,
                own,
                replace(baselines, tensors=tuple(compared)),
                starts and starts.of_example(index, inputs.count),
            )
        )
    return tuple(parts)


def _lone_parts(inputs: Inputs, baselines: Baselines, starts: Baselines | None) -> tuple[Part, ...]:
    """Returns each example alone, with its own baselines."""
    count = inputs.count
    return tuple(
        Part(
            index,
            inputs.of_example(index),
            baselines.of_example(index, count),
            starts and starts.of_example(index, count),
        )
        for index in range(count)
    )
