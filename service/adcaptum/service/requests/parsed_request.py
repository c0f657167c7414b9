"""Parsed requests: Explain requests, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Neuron, Output, Site
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.method import held_bytes, multiply_adds, value_bytes
from adcaptum.service.errors import InvalidRequest, Unsupported
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import shortened
from adcaptum.service.requests import (
    budgets,
    inputs as request_inputs,
    places,
    suitability,
    targets,
)
from adcaptum.service.requests.baseline_reader import BaselineReader, at_layer
from adcaptum.service.requests.baselines import Baselines
from adcaptum.service.requests.budgets import Budget
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.pieces import Part, Piece
from adcaptum.service.requests.reading import Reading
from adcaptum.service.requests.targets import TargetChoice
from adcaptum.service.wire import method_specs
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb

MOST_METHODS: Final = 32
MOST_EXPLANATIONS: Final = 8192
"""The most explanations of a request."""

DEFAULT_OUTPUT: Final = explanation_pb2.OutputOptions(datatype="FP32")
NEURON: Final = TargetChoice(known=(torch.zeros(1, 0, dtype=torch.int64),))


@dataclass(frozen=True, slots=True, eq=False)
class ParsedRequest:
    """A request for explanations, read and checked.

    Attributes:
        model: The model that is explained.
        inputs: The examples.
        parts: The examples that are explained together.
        methods: The methods, each of which explains every example.
        choice: The explained outputs.
        neuron: The neuron that is explained instead of an output.
        layer: The layer whose values are explained; None: the inputs.
        masks: The features of several elements.
        seed: The seed of all randomness.
        budget: The budget.
        output: The form of the reply.
        deterministic: Whether the answer has to be the same to the last bit each time.
        planned_rows: The rows that each method plans for one target.
        planned_multiply_adds: The multiply-adds of the methods' own mathematics for one target.
        planned_bytes: The memory that the methods hold while they run, for one target.
    """

    model: ServedModel
    inputs: Inputs
    parts: tuple[Part, ...]
    methods: tuple[ResolvedMethod, ...]
    choice: TargetChoice
    neuron: Neuron | None
    layer: Site | None
    masks: tuple[Tensor, ...] | None
    seed: int
    budget: Budget
    output: explanation_pb2.OutputOptions
    deterministic: bool
    planned_rows: tuple[int, ...] = ()
    planned_multiply_adds: float = 0.0
    planned_bytes: int = 0

    @property
    def needs_outputs(self) -> bool:
        """True if the targets depend on the values of the outputs."""
        return self.choice.known is None

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
        return self.nbytes + message + outputs + self.choice.count * self.planned_bytes

    @property
    def nbytes(self) -> int:
        """The memory of the request and its answer, in bytes."""
        inputs = sum([each.nbytes for each in self.inputs.tensors])
        held = sum([each.nbytes for each in self.masks or ()])
        for part in self.parts:
            held += sum([each.nbytes for each in part.baselines.tensors])
        return held + inputs * (1 + len(self.methods) * self.choice.count)

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
            planned = self.planned_rows[index] * self.choice.count
            rows[kind] += self.model.row_forecasts.expected(
                resolved.spec.name, self.budget.tolerance, planned
            )
        return rows

    def estimated_multiply_adds(self) -> float:
        """Estimates the multiply-adds of its methods' own mathematics."""
        return self.choice.count * self.planned_multiply_adds

    def planned(self) -> Self:
        """Returns the request with its methods' planned rows; this takes a while for many texts."""
        dims = len(self.model.checks.output_shape)
        first = torch.zeros(self.inputs.count, dims, dtype=torch.int64)
        rows, operations, nbytes = [], 0.0, 0
        for index, resolved in enumerate(self.methods):
            pieces = [self._piece(index, 0, first, part) for part in self.parts]
            seen = [self._seen_by_method(each) for each in pieces]
            of_each = [resolved.method.rows(each) for each in seen]
            rows.append(sum(of_each))
            operations += sum([multiply_adds(resolved.method, each) for each in seen])
            nbytes += sum(map(self._held_bytes, pieces, of_each))
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
        # The inputs are explained by way of a layer, whose values and gradients are read.
        return held_bytes(method, explicand, rows) + 2 * value_bytes(at_site)

    def _seen_by_method(self, piece: Piece) -> Explicand:
        """Returns the explicand with a layer's values, of which methods know nothing, as inputs."""
        return self._with_values(piece.explicand, self.inside(piece.method))

    def _with_values(self, explicand: Explicand, site: Site | None) -> Explicand:
        """Returns an explicand with the values at a site inside the model as inputs."""
        shapes = None if site is None else self.model.checks.layer_shapes.get(site)
        if shapes is None:
            return explicand
        values = explicand.inputs[0]
        seen, own = self.model.loaded.examples[0].shape[1:2], values.shape[1:2]
        # A layer that is as long as the example is as long as the input.
        lengths = [own + shape[1:] if shape[:1] == seen else shape for shape in shapes]
        dtype = values.dtype if values.is_floating_point() else torch.float32
        zero = values.new_zeros(1, dtype=dtype)
        inside = tuple(zero.expand(explicand.count, *each) for each in lengths)
        return replace(explicand, inputs=inside)

    def pieces(self, outputs: Tensor | None) -> list[Piece]:
        """Returns the pieces: one for each method, target and part.

        Args:
            outputs: The model's outputs, `(examples, *output)`, if `needs_outputs`.
        """
        chosen = self.choice.known
        if chosen is None:
            if outputs is None:
                raise ValueError("the targets depend on the outputs")
            chosen = self.choice.given(outputs)
        return [
            self._piece(method, target, indices, part)
            for method in range(len(self.methods))
            for target, indices in enumerate(chosen)
            for part in self.parts
        ]

    def _piece(self, method: int, target: int, indices: Tensor, part: Part) -> Piece:
        gradient = self.methods[method].method.traits.gradient
        inputs = part.inputs
        own = indices
        if len(self.parts) > 1:
            own = indices[part.first : part.first + inputs.count]
        at = self.layer if self.layer is not None else self.model.site(gradient=gradient)
        masks = self.masks
        if inputs.texts is not None and at == INPUT:
            masks = (_token_features(inputs.texts.special),)
        starts = part.starts
        explicand = Explicand(
            inputs=inputs.tensors,
            target=Output(own) if self.neuron is None else self.neuron,
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


def read(
    request: pb.ExplainRequest,
    model: ServedModel,
    reading: Reading,
    *,
    methods: tuple[ResolvedMethod, ...] | None = None,
) -> ParsedRequest:
    """Reads a request.

    Args:
        request: The request.
        model: The model that it names.
        reading: The bounds of reading it.
        methods: Its methods, where they have been read; None: they are read here.

    Raises:
        InvalidRequest: Something in it is not allowed.
        NotFound: It names a method or a layer that does not exist.
        Unsupported: The model cannot run a method that it names.
    """
    loaded = model.loaded
    inputs = request_inputs.read(request.inputs, loaded, reading)
    methods = read_methods(request, model) if methods is None else methods
    layer = places.site(request.layer, model) if request.HasField("layer") else None
    neuron = places.neuron(request.neuron, model) if request.HasField("neuron") else None
    if neuron is not None and any(each.abilities.through for each in methods):
        # The neuron is not the explained number; the explanation of the output goes through it.
        methods = tuple(suitability.by_way_of(neuron, each, layer) for each in methods)
        layer, neuron = neuron.site, None
    if neuron is None:
        choice = targets.read(request.target, model, inputs.count)
    elif request.target.WhichOneof("kind") is None:
        choice = NEURON
    else:
        raise InvalidRequest("target", "set; must be unset where a neuron is explained")
    _check_explanations(methods, choice, inputs)
    baselines = BaselineReader(loaded, inputs, request.seed, reading).read(request.baselines)
    starts = at_layer(request.layer_baselines, inputs)
    if starts is not None and request.baselines:
        raise InvalidRequest("layer_baselines", "given beside baselines; must be one of the two")
    if starts is not None and layer is None:
        raise InvalidRequest("layer_baselines", "given without a layer")
    for each in methods:
        suitability.check_layer(each.abilities, layer, model)
        suitability.check_baselines(each.abilities, baselines, starts, inputs.count)
    parsed = ParsedRequest(
        model=model,
        inputs=inputs,
        parts=_parts(inputs, baselines, starts),
        methods=methods,
        choice=choice,
        neuron=neuron,
        layer=layer,
        masks=places.feature_masks(request.feature_masks, model, inputs, layer),
        seed=request.seed,
        budget=budgets.read(request.budget, methods, loaded.declaration.max_rows),
        output=_output(request.output) if request.HasField("output") else DEFAULT_OUTPUT,
        deterministic=request.deterministic,
    )
    return parsed.planned()


def _check_explanations(
    methods: Sequence[ResolvedMethod], choice: TargetChoice, inputs: Inputs
) -> None:
    count = len(methods) * choice.count * inputs.count
    if count > MOST_EXPLANATIONS:
        raise InvalidRequest(
            "target",
            f"{len(methods)} methods, {choice.count} targets and {inputs.count} examples make "
            f"{count} explanations; at most {MOST_EXPLANATIONS} are allowed",
        )


def read_methods(request: pb.ExplainRequest, model: ServedModel) -> tuple[ResolvedMethod, ...]:
    """Reads the methods of a request.

    Raises:
        InvalidRequest: There are too many, or a parameter is not allowed.
        NotFound: There is none of that name.
        Unsupported: The model cannot run one.
    """
    if len(request.methods) > MOST_METHODS:
        raise InvalidRequest(
            "methods", f"{len(request.methods)} of them; at most {MOST_METHODS} are allowed"
        )
    methods = tuple(
        method_specs.read(spec, f"methods[{index}]") for index, spec in enumerate(request.methods)
    ) or (model.default_method,)
    for method in methods:
        reason = suitability.obstacle(method.abilities, model)
        if reason:
            raise Unsupported(f"Model {model.name!r} cannot run {method.spec.name}: {reason}.")
    return methods


def _output(options: explanation_pb2.OutputOptions) -> explanation_pb2.OutputOptions:
    if options.datatype not in ("", "FP32", "FP64", "FP16"):
        raise InvalidRequest(
            "output.datatype", f"{shortened(options.datatype)}; must be FP32, FP64 or FP16"
        )
    made = explanation_pb2.OutputOptions()
    made.CopyFrom(options)
    made.datatype = options.datatype or "FP32"
    return made


def _parts(inputs: Inputs, baselines: Baselines, starts: Baselines | None) -> tuple[Part, ...]:
    texts = inputs.texts
    if texts is None:
        return (Part(0, inputs, baselines, starts),)
    # Each text alone: at its own length, it shares batches with texts of that length, and its
    # answer does not depend on how long its neighbours are.
    parts = []
    for index in range(inputs.count):
        own = texts.example(index)
        (baseline,) = baselines.tensors
        ids = baseline[index : index + 1, : own.ids.shape[1]]
        parts.append(
            Part(
                index,
                replace(inputs, tensors=(own.ids,), texts=own),
                Baselines((ids,)),
                starts and starts.of_example(index, inputs.count),
            )
        )
    return tuple(parts)


def _token_features(special: Tensor) -> Tensor:
    """Numbers the tokens of a text, `(1, tokens)`; those the tokenizer added are one feature."""
    real = ~special
    numbers = real.cumsum(1) - 1
    return torch.where(real, numbers, int(real.sum()))


def dtype_of(options: explanation_pb2.OutputOptions) -> torch.dtype:
    """Returns the datatype of attributions."""
    return DATATYPES[options.datatype] or torch.float32
