"""Forms of answers: all that follows from the question and its model alone, found once."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from adcaptum.service.answers import input_features
from adcaptum.service.answers.model_parts import model_parts
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb


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


@dataclass(frozen=True, slots=True, eq=False)
class AnswerForm:
    """The form of the answers to a question.

    Attributes:
        model: An `ExplainResponse` that has the model, and the columns of tables if they are
            wanted; the same object for many questions.
        seed: An `ExplainResponse` that has the seed.
        names: The names of the model's inputs.
        labels: The labels of its outputs.
        datatype: The datatype of attributions.
        dtype: The same, as PyTorch's.
        sums_channels: Whether attributions are sums over the channels of images.
        most: The most features of an attribution; 0: all.
        at_inputs: By method, whether its attributions are of the inputs.
        plain: By method, whether its attributions are of all elements of the inputs.
        indices: By target, the output that it stands for in all examples, if it is a given one.
        single: Whether an answer for one example may consist of one plain attribution.
        frames: The frames of such answers.
    """

    model: bytes
    seed: bytes
    names: tuple[str, ...]
    labels: tuple[str, ...]
    datatype: str
    dtype: torch.dtype
    sums_channels: bool
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
        named = parsed.inputs.texts is None and input_features.are_wanted(parsed)
        at_inputs = [parsed.inside(index) is None for index in range(len(question.methods))]
        datatype = output.datatype or "FP32"
        sums_channels = output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
        whole = parsed.inputs.texts is None and not output.max_features
        return cls(
            model=parts.with_columns if named else parts.identity,
            seed=pb.ExplainResponse(seed=question.seed).SerializeToString(),
            names=tuple(each.name for each in declaration.inputs),
            labels=tuple(declaration.outputs[0].labels),
            datatype=datatype,
            dtype=DATATYPES[datatype] or torch.float32,
            sums_channels=sums_channels,
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


_KNOWN: Final = WeakKeyDictionary[Question, AnswerForm]()
