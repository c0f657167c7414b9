"""Layers, neurons and feature masks of a request."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import shortened
from adcaptum.service.requests import inputs as request_inputs
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_pb2, tensor_pb2

INTEGERS: Final = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def site(message: explanation_pb2.Layer, model: ServedModel) -> Site:
    """Reads a layer.

    Raises:
        NotFound: There is none of that name.
    """
    return Site(model.layer(message.name), "input" if message.input else "output")


def neuron(message: explanation_pb2.Neuron, model: ServedModel) -> Neuron:
    """Reads a neuron or a block; its index is checked against the layer when the model runs.

    Raises:
        NotFound: There is no layer of that name.
        InvalidRequest: An index is negative, or a block is empty.
    """
    tensors.check_rank(message.index, "neuron.index")
    for position, index in enumerate(message.index):
        if index < 0:
            raise InvalidRequest(f"neuron.index[{position}]", f"{index}; must be at least 0")
    place = site(message.layer, model)
    if not message.end:
        return Neuron(place, tuple(message.index))
    if len(message.end) != len(message.index):
        raise InvalidRequest(
            "neuron.end",
            f"{len(message.end)} numbers; must be none, or as many as in index, "
            f"{len(message.index)}",
        )
    for position, (begin, end) in enumerate(zip(message.index, message.end, strict=True)):
        if end <= begin:
            raise InvalidRequest(
                f"neuron.end[{position}]", f"{end}; must be greater than index, {begin}"
            )
    return Neuron(place, tuple(map(slice, message.index, message.end)))


def feature_masks(
    messages: Sequence[tensor_pb2.Tensor], model: ServedModel, inputs: Inputs, layer: Site | None
) -> tuple[Tensor, ...] | None:
    """Reads the feature masks, `(1 or examples, *features)`; None: each element is a feature.

    Masks of a layer are checked against its shape when the model runs.

    Raises:
        InvalidRequest: A mask is not of whole numbers or not of its input's shape.
    """
    if not messages:
        return None
    request_inputs.check_number(messages, "feature_masks")
    if layer is not None:
        return tuple(
            _of_layer(each, f"feature_masks[{index}]").to(inputs.tensors[0].device)
            for index, each in enumerate(messages)
        )
    declared = model.loaded.declaration.inputs
    if inputs.texts is not None:
        raise InvalidRequest("feature_masks", "texts take none: each token is a feature")
    placed = request_inputs.place([each.name for each in messages], declared, "feature_masks")
    masks: list[Tensor] = []
    given = {
        index: _mask(messages[index], f"feature_masks[{index}]")
        for index in placed
        if index is not None
    }
    # Numbers are shared across inputs; elements of inputs without a mask get numbers beyond.
    beyond = max([int(mask.max()) + 1 for mask in given.values()], default=0)
    for values, index in zip(inputs.tensors, placed, strict=True):
        if index is None:
            own = torch.arange(beyond, beyond + values[0].numel(), device=values.device)
            masks.append(own.view(1, *values.shape[1:]))
            beyond += values[0].numel()
            continue
        field = f"feature_masks[{index}]"
        mask = given[index]
        rows = len(values) if mask.shape[:1] == values.shape[:1] else 1
        tensors.require_shape(mask.shape, (rows, *values.shape[1:]), field)
        masks.append(mask.to(values.device))
    return tuple(masks)


def _of_layer(message: tensor_pb2.Tensor, field: str) -> Tensor:
    if message.name:
        raise InvalidRequest(
            f"{field}.name", f"{shortened(message.name)}; must be empty where a layer is explained"
        )
    return _mask(message, field)


def _mask(message: tensor_pb2.Tensor, field: str) -> Tensor:
    tensors.check_datatype(message.datatype, field)
    if tensors.DATATYPES[message.datatype] not in INTEGERS:
        raise InvalidRequest(f"{field}.datatype", f"{message.datatype}; must be of whole numbers")
    mask = tensors.decode(message, field)
    assert isinstance(mask, Tensor)
    if bool((mask < 0).any()):
        raise InvalidRequest(f"{field}.data", f"{int(mask.min())}; must be at least 0")
    return mask.to(torch.int64)
