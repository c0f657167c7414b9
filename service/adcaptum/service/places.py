"""Places inside a model, and groups of elements, that a request names."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from adcaptum.engine.evaluation import Neuron, Site
from adcaptum.service import inputs as request_inputs, tensors
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.inputs import Inputs
from adcaptum.service.served_model import ServedModel
from adcaptum.service.tensors import Bytes
from adcaptum.v1 import explanation_pb2, tensor_pb2

INTEGERS: Final = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def site(message: explanation_pb2.Layer, model: ServedModel) -> Site:
    """Reads a layer.

    Raises:
        NotFound: There is none of that name.
    """
    return Site(model.layer(message.name), "input" if message.input else "output")


def neuron(message: explanation_pb2.Neuron, model: ServedModel) -> Neuron:
    """Reads a neuron; whether its index is in range shows when the model runs.

    Raises:
        NotFound: There is no layer of that name.
        InvalidRequest: An index is negative.
    """
    for position, index in enumerate(message.index):
        if index < 0:
            raise InvalidRequest(f"neuron.index[{position}]", f"{index}; must be at least 0")
    return Neuron(site(message.layer, model), tuple(message.index))


def feature_masks(
    messages: Sequence[tensor_pb2.Tensor], model: ServedModel, inputs: Inputs
) -> tuple[Tensor, ...] | None:
    """Reads which elements are one feature, each `(1, *features)`; None where each is its own.

    Raises:
        InvalidRequest: A mask is not of whole numbers or not of its input's shape.
    """
    if not messages:
        return None
    declared = model.loaded.declaration.inputs
    if inputs.texts is not None:
        raise InvalidRequest("feature_masks", "texts take none: each token is a feature")
    placed = request_inputs.place([each.name for each in messages], declared, "feature_masks")
    masks: list[Tensor] = []
    # Numbers are shared across inputs; elements that no mask speaks of get numbers beyond.
    beyond = 0
    for index in placed:
        if index is not None:
            beyond = max(beyond, int(_mask(messages[index], f"feature_masks[{index}]").max()) + 1)
    for values, index in zip(inputs.tensors, placed, strict=True):
        if index is None:
            own = torch.arange(beyond, beyond + values[0].numel(), device=values.device)
            masks.append(own.view(1, *values.shape[1:]))
            beyond += values[0].numel()
            continue
        field = f"feature_masks[{index}]"
        mask = _mask(messages[index], field)
        tensors.require_shape(mask.shape, (1, *values.shape[1:]), field)
        masks.append(mask.to(values.device))
    return tuple(masks)


def _mask(message: tensor_pb2.Tensor, field: str) -> Tensor:
    mask = tensors.decode(message, field)
    if isinstance(mask, Bytes) or mask.dtype not in INTEGERS:
        raise InvalidRequest(f"{field}.datatype", f"{message.datatype}; must be of whole numbers")
    if bool((mask < 0).any()):
        raise InvalidRequest(f"{field}.data", f"{int(mask.min())}; must be at least 0")
    return mask.to(torch.int64)
