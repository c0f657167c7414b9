"""Feature masks of a request: elements of inputs, or of a layer, that are one feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import shortened
from adcaptum.service.requests import inputs as request_inputs
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.wire import tensors
from adcaptum.v1 import explain_spec_pb2

INTEGERS: Final = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

LARGEST: Final = torch.iinfo(torch.int64).max
"""The largest number of a feature."""

OF_INPUTS: Final = "spec.feature_masks"
OF_LAYER: Final = "spec.site.feature_masks"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMasks:
    """The features of all inputs, or of a layer's tensors.

    Attributes:
        tensors: For each, the number of each element's feature, int64 `(1 or examples, *features)`.
        names: The names of features by their number, where the request names them.
    """

    tensors: tuple[Tensor, ...]
    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))

    def of_examples(self, first: int, count: int, examples: int) -> tuple[Tensor, ...]:
        """Returns the masks of `count` of all `examples`, from the one at `first` on."""
        if count == examples:
            return self.tensors
        return tuple(
            each[first : first + count] if len(each) == examples else each for each in self.tensors
        )


def of_inputs(
    messages: Sequence[explain_spec_pb2.FeatureMask], model: ServedModel, inputs: Inputs
) -> FeatureMasks | None:
    """Reads the feature masks of inputs; None: each element is a feature.

    Raises:
        InvalidRequest: A mask is not of whole numbers or not of its input's shape, or has too few
            names.
    """
    if not messages:
        return None
    request_inputs.check_number(messages, OF_INPUTS)
    declared = model.loaded.declaration.inputs
    placed = request_inputs.place([each.input for each in messages], declared, OF_INPUTS, "input")
    text = model.loaded.declaration.text
    if text is not None and placed[text] is not None:
        place = f"{OF_INPUTS}[{placed[text]}]" if len(declared) > 1 else OF_INPUTS
        raise InvalidRequest(place, "texts take none: each token is a feature")
    given = {
        index: _mask(messages[index], f"{OF_INPUTS}[{index}]")
        for index in placed
        if index is not None
    }
    # Numbers are shared across inputs; elements of inputs without a mask get numbers beyond.
    beyond = max([int(mask.max()) + 1 for mask in given.values()], default=0)
    masks: list[Tensor] = []
    for values, index in zip(inputs.tensors, placed, strict=True):
        if index is None:
            if beyond + values[0].numel() > LARGEST:
                most = max(given, key=lambda place: int(given[place].max()))
                raise InvalidRequest(
                    f"{OF_INPUTS}[{most}].tensor",
                    f"{int(given[most].max())}; must be less: elements of inputs without a mask "
                    "have the numbers beyond",
                )
            own = torch.arange(beyond, beyond + values[0].numel(), device=values.device)
            masks.append(own.view(1, *values.shape[1:]))
            beyond += values[0].numel()
            continue
        mask = given[index]
        rows = len(values) if mask.shape[:1] == values.shape[:1] else 1
        place = f"{OF_INPUTS}[{index}].tensor"
        tensors.require_shape(mask.shape, (rows, *values.shape[1:]), place)
        masks.append(mask.to(values.device))
    return FeatureMasks(tuple(masks), _names(messages, given, OF_INPUTS))


def with_tokens(masks: tuple[Tensor, ...] | None, inputs: Inputs) -> tuple[Tensor, ...]:
    """Returns masks in which each token of a text is a feature; those it was given are one.

    Args:
        masks: The masks of all inputs; None: each element is a feature.
        inputs: The inputs of one example with a text.
    """
    assert inputs.texts is not None, "there is a text"
    special = inputs.texts.special
    real = ~special
    tokens = torch.where(real, real.cumsum(1) - 1, int(real.sum()))
    place, beyond = inputs.text_place, 0
    made = []
    for index, values in enumerate(inputs.tensors):
        if index == place:
            made.append(tokens)
            continue
        own = torch.arange(values[0].numel(), device=values.device).view(1, *values.shape[1:])
        made.append(own + beyond if masks is None else masks[index])
        beyond = max(beyond, int(made[-1].max()) + 1)
    # Tokens have the numbers behind all others.
    made[place] = tokens + beyond
    return tuple(made)


def of_layer(
    messages: Sequence[explain_spec_pb2.FeatureMask], inputs: Inputs
) -> FeatureMasks | None:
    """Reads the feature masks of a layer; None: each element is a feature.

    They are checked against the layer's shape when the model runs.

    Raises:
        InvalidRequest: A mask is not of whole numbers, names an input, is for another number of
            examples, or has too few names.
    """
    if not messages:
        return None
    request_inputs.check_number(messages, OF_LAYER)
    given = {}
    for index, message in enumerate(messages):
        place = f"{OF_LAYER}[{index}]"
        if message.input:
            raise InvalidRequest(f"{place}.input", f"{shortened(message.input)}; must be empty")
        mask = _mask(message, place)
        if len(mask) not in (1, inputs.count):
            raise InvalidRequest(
                f"{place}.tensor.shape",
                f"{tensors.shown(mask.shape)}; the first dimension must be 1 or the "
                f"{inputs.count} examples",
            )
        given[index] = mask.to(inputs.tensors[0].device)
    return FeatureMasks(tuple(given.values()), _names(messages, given, OF_LAYER))


def _mask(message: explain_spec_pb2.FeatureMask, path: str) -> Tensor:
    if message.WhichOneof("kind") is None:
        raise InvalidRequest(path, "without groups; must have a tensor")
    path = f"{path}.tensor"
    tensor = message.tensor
    own = tensor.datatype or ("INT64" if tensor.HasField("values") else "")
    tensors.check_datatype(own, path)
    if tensors.DATATYPES[own] not in INTEGERS:
        raise InvalidRequest(f"{path}.datatype", f"{own}; must be of whole numbers")
    if not tensor.shape and not tensor.HasField("values"):
        raise InvalidRequest(f"{path}.shape", "no dimension; the batch comes first")
    mask = tensors.decode(tensor, path, datatype="INT64")
    if not isinstance(mask, Tensor):
        raise InvalidRequest(f"{path}.values", "texts; must be whole numbers")
    if bool((mask < 0).any()):
        raise InvalidRequest(path, f"{int(mask.min())}; must be at least 0")
    return mask.to(torch.int64)


def _names(
    messages: Sequence[explain_spec_pb2.FeatureMask], masks: Mapping[int, Tensor], path: str
) -> Mapping[int, str]:
    """Returns the names of the features that occur in masks with names."""
    found: dict[int, str] = {}
    for index, mask in masks.items():
        names = messages[index].names
        if not names:
            continue
        place = f"{path}[{index}].names"
        most = int(mask.max())
        if most >= len(names):
            raise InvalidRequest(
                place, f"{len(names)} names; feature {most} has none: must be {most + 1} or more"
            )
        for number in mask.unique().tolist():
            if found.setdefault(number, names[number]) != names[number]:
                raise InvalidRequest(
                    f"{place}[{number}]",
                    f"{shortened(names[number])}; feature {number}, also of another input, is "
                    f"named {shortened(found[number])} already",
                )
    return MappingProxyType(found)
