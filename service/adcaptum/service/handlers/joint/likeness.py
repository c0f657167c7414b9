"""Likeness: explanation requests that may be one explicand, and what joins them.

Two requests are alike if they ask the same question of the same model about inputs of the same
shapes. Inputs and given indices of outputs may differ: methods take them for each example.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import prod
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.question import Question, has_tensors
from adcaptum.service.requests.questions.targets import Number, Targets
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, tensor_pb2

MOST_BYTES: Final = 1 << 14
"""The largest request that is explained jointly with others."""

MOST_EXAMPLES: Final = 16
"""The most examples of a request that is explained jointly with others."""

MOST_METHODS: Final = 4
"""The most methods of such a request, and the most targets."""

FORMS: Final = frozenset({None, "argmax", "label", "index"})
"""The forms of targets that stand for one output of each example."""


Inputs = Sequence[tensor_pb2.Tensor]
"""The inputs of a request."""


class Form(NamedTuple):
    """The common part of alike questions.

    Attributes:
        asked: Equal for alike questions of one model; None: requests that ask it run apart.
        given: The number of examples of which each has a target of its own; 0: targets are for any
            number of them.
    """

    asked: Hashable
    given: int


APART: Final = Form(None, 0)


def likeness(
    request: pb.ExplainRequest, model: ServedModel, question: Question, nbytes: int
) -> Hashable | None:
    """Returns what alike requests have in common; None where a request has to run apart.

    Args:
        request: The request.
        model: Its model.
        question: Its question.
        nbytes: Its size.
    """
    form = _FORMS.get(question)
    if form is None:
        form = _FORMS[question] = _form(question)
    if form.asked is None:
        return None
    shapes = input_shapes(request.inputs, model, nbytes)
    if shapes is None or form.given not in (0, examples(request.inputs)):
        return None
    return model, form.asked, shapes


def _form(question: Question) -> Form:
    """Returns what a question has in common with others; those with large tensors run apart."""
    spec, given = question.spec, {0}
    if (
        question.deterministic
        or question.budget.tolerance
        or question.layer is not None
        or question.through is not None
        or question.failures
        or len(question.methods) > MOST_METHODS
        or not all(each.abilities.alone for each in question.methods)
        or len(spec.targets) > MOST_METHODS
        or not all(each.WhichOneof("kind") in FORMS for each in spec.targets)
        or not _one_row_each(spec)
    ):
        return APART
    given |= {len(each) for each in question.targets.numbers if isinstance(each, Tensor)} - {1}
    if len(given) > 2:
        return APART
    if not has_indices(question) and not has_tensors(spec):
        return Form(question.digest, max(given))
    asked = explain_spec_pb2.ExplainSpec()
    asked.CopyFrom(spec)
    for target in asked.targets:
        if target.WhichOneof("kind") == "index":
            target.index.ClearField("values")
    return Form(asked.SerializeToString(deterministic=True), max(given))


_FORMS: Final = WeakKeyDictionary[Question, Form]()


def examples(inputs: Inputs) -> int:
    """Returns the number of examples of some inputs; 0 if they have no shape."""
    shape = inputs[0].shape
    return shape[0] if shape else 0


def joined_inputs(inputs: Sequence[Inputs]) -> Inputs:
    """Joins the inputs of alike requests, in their order."""
    if len(inputs) == 1:
        return inputs[0]
    made = []
    for index, tensor in enumerate(inputs[0]):
        own = tensor_pb2.Tensor(name=tensor.name, datatype=tensor.datatype)
        own.data = b"".join([each[index].data for each in inputs])
        own.shape.append(sum([each[index].shape[0] for each in inputs]))
        own.shape.extend(tensor.shape[1:])
        made.append(own)
    return made


def joined_question(questions: Sequence[Question], counts: Sequence[int]) -> Question:
    """Joins the questions of alike requests: one with the targets of each example.

    Args:
        questions: The questions.
        counts: The number of examples of each.
    """
    first = questions[0]
    if len(questions) == 1 or not has_indices(first):
        return first
    places = zip(first.targets.origins, first.targets.numbers, strict=True)
    numbers = tuple(_joined(questions, counts, place, number) for place, number in places)
    return replace(first, targets=Targets(numbers, first.targets.origins))


def has_indices(question: Question) -> bool:
    """Returns whether a target is an output by its index, which each request may choose."""
    return any(each.WhichOneof("kind") == "index" for each in question.spec.targets)


def _joined(
    questions: Sequence[Question], counts: Sequence[int], place: int, number: Number
) -> Number:
    """Joins one number of alike questions.

    Args:
        questions: The questions.
        counts: The number of examples of each.
        place: The place of its target.
        number: The number in the first question.
    """
    if not isinstance(number, Tensor) or number.shape[1] == 0:
        return number
    if questions[0].spec.targets[place].WhichOneof("kind") != "index":
        return number
    dims, values = number.shape[1], list[int]()
    for question, count in zip(questions, counts, strict=True):
        own = question.spec.targets[place].index.values
        values.extend([*own] * count if len(own) == dims else own)
    return torch.tensor(values, dtype=torch.int64).view(-1, dims)


def input_shapes(inputs: Inputs, model: ServedModel, nbytes: int) -> Hashable | None:
    """Returns names and shapes of an example's inputs; None where they may not be joined.

    Only data of the declared datatype and of the length that the shape implies are.

    Args:
        inputs: The inputs.
        model: Their model.
        nbytes: The size of the request.
    """
    if nbytes > MOST_BYTES or not model.checks.independent or model.loaded.text is not None:
        return None
    declared = model.loaded.declaration.inputs
    if len(inputs) != len(declared):
        return None
    found, count = [], 0
    for message, each in zip(inputs, declared, strict=True):
        if message.name not in ("", each.name) or message.datatype != each.datatype:
            return None
        dtype, shape = DATATYPES.get(message.datatype), tuple(message.shape)
        if dtype is None or not shape or min(shape) < 1 or len(shape) != len(each.shape):
            return None
        if len(message.data) != prod(shape) * dtype.itemsize or shape[0] != (count or shape[0]):
            return None
        count = shape[0]
        found.append((message.name, shape[1:]))
    return None if count > MOST_EXAMPLES else tuple(found)


def _one_row_each(spec: explain_spec_pb2.ExplainSpec) -> bool:
    """Returns whether baselines and masks are of one row, which is every example's."""
    tensors = [mask.tensor for mask in spec.feature_masks]
    for baseline in spec.baselines:
        kind = baseline.WhichOneof("kind")
        if kind == "distribution":
            return False
        if kind == "tensor":
            tensors.append(baseline.tensor)
    return all(map(_is_one_row, tensors))


def _is_one_row(tensor: tensor_pb2.Tensor) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[0] == 1
