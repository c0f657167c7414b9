"""Forms of answers: all that follows from the question and its model alone, found once."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from adcaptum.service.answers import input_features
from adcaptum.service.answers.model_parts import model_parts
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

COMPONENTS: Final = 2
"""The dimension of the components of embedded tokens, which mean nothing by themselves."""

CHANNELS: Final = 1
"""The dimension of the channels of images."""


class Frame(NamedTuple):
    """The surroundings of the numbers in an answer that consists of one explanation.

    Attributes:
        before: The bytes between those of the model and the outputs.
        between: The bytes between the outputs and the attributions.
        after: The bytes after the attributions.
    """

    before: bytes
    between: bytes
    after: bytes


class InputPart(NamedTuple):
    """The attributions of one input.

    Attributes:
        name: The input's name.
        summed: The dimension over which they are summed: `CHANNELS`, `COMPONENTS`, or None.
        place: The input's place among all.
    """

    name: str
    summed: int | None
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class AnswerForm:
    """The form of the answers to a question.

    Attributes:
        model: An `ExplainResponse` that has the model, and the columns of tables if they are
            wanted; the same object for many questions.
        seed: An `ExplainResponse` that has the seed.
        parts: By method, the inputs of its attributions, where they are of inputs.
        labels: The labels of its outputs.
        datatype: The datatype of attributions.
        dtype: The same, as PyTorch's.
        most: The most features of an attribution; 0: all.
        at_inputs: By method, whether its attributions are of the inputs.
        plain: By method, whether its attributions are of all elements of the inputs.
        indices: By target, the output that it stands for in all examples, if it is a given one.
        single: Whether an answer for one example may consist of one plain attribution.
        frames: The frames of such answers.
    """

    model: bytes
    seed: bytes
    parts: tuple[tuple[InputPart, ...], ...]
    labels: tuple[str, ...]
    datatype: str
    dtype: torch.dtype
    most: int
    at_inputs: tuple[bool, ...]
    plain: tuple[bool, ...]
    indices: Mapping[int, tuple[int, ...]]
    single: bool
    frames: dict[Hashable, Frame] = field(default_factory=dict)

    @classmethod
    def of(cls, parsed: ParsedRequest) -> Self:
        """Finds the form of the answer to a request."""
        question, declaration = parsed.question, parsed.model.loaded.declaration
        output, parts = question.output, model_parts(parsed.model)
        named = input_features.are_wanted(parsed)
        at_inputs = [parsed.inside(index) is None for index in range(len(question.methods))]
        datatype = output.datatype or "FP32"
        sums_channels = output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
        whole = parsed.inputs.texts is None and not output.max_features
        return cls(
            model=parts.with_columns if named else parts.identity,
            seed=pb.ExplainResponse(seed=question.seed).SerializeToString(),
            parts=tuple(
                _parts(parsed, index, sums_channels=sums_channels)
                for index in range(len(question.methods))
            ),
            labels=tuple(declaration.outputs[0].labels),
            datatype=datatype,
            dtype=DATATYPES[datatype] or torch.float32,
            most=output.max_features,
            at_inputs=tuple(at_inputs),
            plain=tuple(each and whole for each in at_inputs),
            indices={
                target: tuple(number[0].tolist())
                for target, number in enumerate(question.targets.numbers)
                if isinstance(number, Tensor) and len(number) == 1
            },
            single=whole
            and at_inputs == [True]
            and len(declaration.inputs) == 1
            and not sums_channels
            and not output.return_inputs,
        )


def answer_form(parsed: ParsedRequest) -> AnswerForm:
    """Returns the form of the answer to a request, which is kept as long as its question."""
    known = _KNOWN.get(parsed.question)
    if known is None:
        known = _KNOWN[parsed.question] = AnswerForm.of(parsed)
    return known


def _parts(parsed: ParsedRequest, method: int, *, sums_channels: bool) -> tuple[InputPart, ...]:
    """Returns the inputs of a method's attributions."""
    model, resolved = parsed.model, parsed.methods[method]
    site = model.site(gradient=resolved.method.traits.gradient)
    declared = model.loaded.declaration.inputs
    return tuple(
        InputPart(declared[place].name, _summed(declared[place], sums=sums_channels), place)
        for place in model.inputs_at(site)
    )


def _summed(declared: InputDeclaration, *, sums: bool) -> int | None:
    if declared.kind == "text":
        return COMPONENTS
    if not sums:
        return None
    return COMPONENTS if declared.embedding else CHANNELS


_KNOWN: Final = WeakKeyDictionary[Question, AnswerForm]()
