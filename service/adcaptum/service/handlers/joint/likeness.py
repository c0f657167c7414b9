"""Likeness: explanation requests that may be one explicand, and the message that joins them.

Two requests are alike if they ask the same of the same model: methods with their parameters, the
form of the target, baselines, masks, budget, output options, seed, and inputs of the same shapes.
Inputs and given indices of outputs may differ: methods take them for each example.
"""

from collections.abc import Hashable, Sequence
from math import prod
from typing import Final

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explanation_service_pb2 as pb, tensor_pb2

MOST_BYTES: Final = 1 << 14
"""The largest request that is explained jointly with others."""

MOST_EXAMPLES: Final = 16
"""The most examples of a request that is explained jointly with others."""

MOST_METHODS: Final = 4
"""The most methods of such a request."""

FORMS: Final = frozenset({None, "argmax", "label"})
"""The forms of targets, beside given indices, of which there is one for each example."""


def likeness(
    request: pb.ExplainRequest,
    model: ServedModel,
    methods: Sequence[ResolvedMethod],
    nbytes: int,
) -> Hashable | None:
    """Returns what alike requests have in common; None where a request has to run apart.

    Args:
        request: The request.
        model: Its model.
        methods: Its methods.
        nbytes: Its size.
    """
    if (
        nbytes > MOST_BYTES
        or request.deterministic
        or request.budget.tolerance
        or request.HasField("layer")
        or len(methods) > MOST_METHODS
        or not _has_known_form(request, model)
        or not model.checks.independent
        or model.loaded.text is not None
        or not all(each.abilities.alone for each in methods)
        or not _one_row_each(request)
    ):
        return None
    shapes = _shapes(request, model)
    if shapes is None:
        return None
    asked = pb.ExplainRequest()
    asked.CopyFrom(request)
    asked.ClearField("inputs")
    asked.ClearField("cache")
    if _has_indices(request):
        asked.target.indices.ClearField("values")
    return model, asked.SerializeToString(deterministic=True), shapes


def examples(request: pb.ExplainRequest) -> int:
    """Returns the number of examples of a request with inputs; 0 if they have no shape."""
    shape = request.inputs[0].shape
    return shape[0] if shape else 0


def joined(requests: Sequence[pb.ExplainRequest], dims: int) -> pb.ExplainRequest:
    """Joins alike requests: one with the examples of all, in their order.

    Args:
        requests: The requests.
        dims: The number of dimensions of the model's output for an example.
    """
    first = requests[0]
    if len(requests) == 1:
        return first
    made = pb.ExplainRequest()
    made.CopyFrom(first)
    for index, tensor in enumerate(made.inputs):
        tensor.data = b"".join([each.inputs[index].data for each in requests])
        tensor.shape[0] = sum([each.inputs[index].shape[0] for each in requests])
    if _has_indices(first):
        values = made.target.indices.values
        del values[:]
        for each in requests:
            given = each.target.indices.values
            once = len(given) == dims
            values.extend([*given] * examples(each) if once else given)
    return made


def _has_known_form(request: pb.ExplainRequest, model: ServedModel) -> bool:
    """Returns whether each example has one target, by its index or by a rule for all."""
    if not _has_indices(request):
        return request.target.WhichOneof("kind") in FORMS
    dims, given = len(model.checks.output_shape), len(request.target.indices.values)
    return dims > 0 and bool(request.inputs) and given in (dims, dims * examples(request))


def _has_indices(request: pb.ExplainRequest) -> bool:
    return request.target.WhichOneof("kind") == "indices"


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


def _one_row_each(request: pb.ExplainRequest) -> bool:
    """Returns whether baselines and masks are of one row, which is every example's."""
    tensors = [*request.feature_masks]
    for baseline in (*request.baselines, *request.layer_baselines):
        kind = baseline.WhichOneof("kind")
        if kind == "tensor":
            tensors.append(baseline.tensor)
    return all(map(_is_one_row, tensors))


def _is_one_row(tensor: tensor_pb2.Tensor) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[0] == 1
