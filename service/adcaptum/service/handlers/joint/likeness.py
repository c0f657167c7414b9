"""Likeness: explanation requests that may be one explicand, and what joins them.

Two requests are alike if they ask the same question of the same model about inputs of the same
shapes. Inputs and given indices of outputs may differ: methods take them for each example.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import prod
from typing import Final

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
    if (
        nbytes > MOST_BYTES
        or question.deterministic
        or question.budget.tolerance
        or question.layer is not None
        or question.through is not None
        or question.failures
        or len(question.methods) > MOST_METHODS
        or not model.checks.independent
        or model.loaded.text is not None
        or not all(each.abilities.alone for each in question.methods)
    ):
        return None
    shapes = _shapes(request, model)
    if shapes is None:
        return None
    spec = question.spec
    if not _has_known_form(question, examples(request)) or not _one_row_each(spec):
        return None
    given = has_indices(question)
    if not given and not has_tensors(spec):
        # The same object for all that ask it, as long as it is known.
        return model, question, shapes
    asked = explain_spec_pb2.ExplainSpec()
    asked.CopyFrom(spec)
    for target in asked.targets:
        if target.WhichOneof("kind") == "index":
            target.index.ClearField("values")
    return model, asked.SerializeToString(deterministic=True), shapes


def examples(request: pb.ExplainRequest) -> int:
    """Returns the number of examples of a request with inputs; 0 if they have no shape."""
    shape = request.inputs[0].shape
    return shape[0] if shape else 0


def joined_inputs(requests: Sequence[pb.ExplainRequest]) -> pb.ExplainRequest:
    """Joins the inputs of alike requests, in their order; the message has nothing else."""
    first = requests[0]
    if len(requests) == 1:
        return first
    made = pb.ExplainRequest()
    for index, tensor in enumerate(first.inputs):
        own = made.inputs.add()
        own.name = tensor.name
        own.datatype = tensor.datatype
        own.data = b"".join([each.inputs[index].data for each in requests])
        own.shape.append(sum([each.inputs[index].shape[0] for each in requests]))
        own.shape.extend(tensor.shape[1:])
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
    columns = zip(*[each.targets.numbers for each in questions], strict=True)
    numbers = tuple(_joined(column, counts) for column in columns)
    return replace(first, targets=Targets(numbers, first.targets.origins))


def has_indices(question: Question) -> bool:
    """Returns whether a target is an output by its index, which each request may choose."""
    return any(each.WhichOneof("kind") == "index" for each in question.spec.targets)


def _joined(numbers: Sequence[Number], counts: Sequence[int]) -> Number:
    if not isinstance(numbers[0], Tensor):
        return numbers[0]
    of_each = zip(numbers, counts, strict=True)
    return torch.cat(
        [each.expand(count, each.shape[1]) for each, count in of_each if isinstance(each, Tensor)]
    )


def _has_known_form(question: Question, count: int) -> bool:
    """Returns whether each example has one output for each target."""
    targets = question.spec.targets
    return (
        len(targets) <= MOST_METHODS
        and all(each.WhichOneof("kind") in FORMS for each in targets)
        and all(
            len(each) in (1, count) for each in question.targets.numbers if isinstance(each, Tensor)
        )
    )


def _shapes(request: pb.ExplainRequest, model: ServedModel) -> Hashable | None:
    """Returns names, datatypes and shapes of an example's inputs; None where they are not plain.

    Only data of the declared datatype and of the length that the shape implies may be joined.
    """
    declared = model.loaded.declaration.inputs
    if len(request.inputs) != len(declared):
        return None
    found, count = [], 0
    for message, each in zip(request.inputs, declared, strict=True):
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
