"""Targets: the numbers of each example that a request wants explained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from adcaptum.engine.vocabulary.evaluation import Neuron
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions import sites
from adcaptum.service.wire.tensors import shown
from adcaptum.v1 import explain_spec_pb2

MOST_TARGETS: Final = 4096
"""The most outputs of an example that one target stands for."""

MOST_EXPLANATIONS: Final = 8192
"""The most explanations of a request, and so the most targets."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The output of a place among an example's outputs, the largest first.

    Attributes:
        place: The place, from 0.
    """

    place: int


Number = Rank | Tensor | Neuron
"""A number of each example: an output by its rank; an output by its index, int64 `(1 or examples,
dims)`; or a number inside the model."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of a question, with `top_k` and `all` spread out.

    Attributes:
        numbers: The explained numbers.
        origins: The place of each number's target in `spec.targets`.
    """

    numbers: tuple[Number, ...]
    origins: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of explained numbers of each example."""
        return len(self.numbers)

    @property
    def needs_outputs(self) -> bool:
        """True if a number depends on the values of the outputs."""
        return any(isinstance(each, Rank) for each in self.numbers)

    def check_examples(self, count: int) -> None:
        """Raises `InvalidRequest` if an index is for another number of examples."""
        for number, origin in zip(self.numbers, self.origins, strict=True):
            if isinstance(number, Tensor) and len(number) not in (1, count):
                dims = number.shape[1]
                each = "one number" if dims == 1 else f"{dims} numbers"
                raise InvalidRequest(
                    f"spec.targets[{origin}].index.values",
                    f"{number.numel()} numbers; must be {each} per example, or for all {count}",
                )

    def given(self, count: int, outputs: Tensor | None) -> tuple[Tensor | Neuron, ...]:
        """Returns the numbers of `count` examples, outputs by their index, `(examples, dims)`.

        Args:
            count: The number of examples.
            outputs: The model's outputs, `(examples, *output)`, if `needs_outputs`.
        """
        order: Tensor | None = None
        found: list[Tensor | Neuron] = []
        for each in self.numbers:
            if isinstance(each, Neuron):
                found.append(each)
            elif isinstance(each, Tensor):
                found.append(each.expand(count, each.shape[1]))
            else:
                if outputs is None:
                    raise ValueError("a target depends on the outputs")
                if order is None:
                    order = _ranked(outputs)
                found.append(_at_rank(order, each.place, outputs.shape[1:]))
        return tuple(found)


def _ranked(outputs: Tensor) -> Tensor:
    # topk leaves the order of equal values open; a stable sort takes the first.
    return outputs.flatten(1).sort(dim=1, descending=True, stable=True).indices.cpu()


def _at_rank(order: Tensor, place: int, shape: Sequence[int]) -> Tensor:
    if len(shape) == 1:
        return order[:, place : place + 1].clone()
    return torch.stack(torch.unravel_index(order[:, place], torch.Size(shape)), dim=1)


def read(messages: Sequence[explain_spec_pb2.Target], model: ServedModel) -> Targets:
    """Reads the targets of a question; without any, the largest output of each example.

    Raises:
        InvalidRequest: One is not of the model, or there are too many.
    """
    shape = model.checks.output_shape
    if not messages:
        return Targets(_argmax(shape), (0,))
    numbers: list[Number] = []
    origins: list[int] = []
    for origin, message in enumerate(messages):
        own = _read(message, f"spec.targets[{origin}]", model, shape)
        numbers += own
        origins += [origin] * len(own)
        if len(numbers) > MOST_EXPLANATIONS:
            raise InvalidRequest(
                "spec.targets",
                f"{len(numbers)} targets or more; at most {MOST_EXPLANATIONS} explanations are "
                "allowed",
            )
    return Targets(tuple(numbers), tuple(origins))


def most(messages: Sequence[explain_spec_pb2.Target], model: ServedModel) -> int:
    """Returns an upper bound of the number of targets, spread out, without reading them."""
    outputs = math.prod(model.checks.output_shape)
    spread = sum(each.WhichOneof("kind") in ("top_k", "all") for each in messages[:MOST_TARGETS])
    return len(messages) + spread * min(outputs, MOST_TARGETS)


def _read(
    message: explain_spec_pb2.Target, field: str, model: ServedModel, shape: tuple[int, ...]
) -> tuple[Number, ...]:
    match message.WhichOneof("kind"):
        case None | "argmax":
            return _argmax(shape)
        case "index":
            most = model.loaded.declaration.max_examples
            return (_index(message.index.values, shape, f"{field}.index", most),)
        case "label":
            return (_label(message.label, model, f"{field}.label"),)
        case "top_k":
            outputs = math.prod(shape)
            most = min(outputs, MOST_TARGETS)
            if not 1 <= message.top_k <= most:
                raise InvalidRequest(f"{field}.top_k", f"{message.top_k}; must be from 1 to {most}")
            return _every(shape) if outputs == 1 else tuple(map(Rank, range(message.top_k)))
        case "all":
            outputs = math.prod(shape)
            if outputs > MOST_TARGETS:
                raise InvalidRequest(
                    f"{field}.all", f"{outputs} outputs; at most {MOST_TARGETS} are allowed"
                )
            return _every(shape)
        case "neuron":
            return (sites.neuron(message.neuron, model, f"{field}.neuron"),)


def _argmax(shape: tuple[int, ...]) -> tuple[Number, ...]:
    return _every(shape) if math.prod(shape) == 1 else (Rank(0),)


def _index(values: Sequence[int], shape: tuple[int, ...], field: str, most_examples: int) -> Tensor:
    dims = len(shape)
    if not dims and values:
        raise InvalidRequest(
            f"{field}.values",
            f"{shown(values)}; the model gives one number per example: must be empty",
        )
    if not dims:
        return torch.zeros(1, 0, dtype=torch.int64)
    if not values or len(values) % dims:
        each = "one number" if dims == 1 else f"{dims} numbers"
        raise InvalidRequest(
            f"{field}.values", f"{len(values)} numbers; must be {each} per example, or for all"
        )
    if len(values) > most_examples * dims:
        raise InvalidRequest(
            f"{field}.values",
            f"{len(values)} numbers; at most {most_examples * dims} are allowed, for "
            f"{most_examples} examples",
        )
    numbers = np.array(values, np.int64).reshape(-1, dims)
    wrong = (numbers < 0) | (numbers >= np.array(shape))
    if wrong.any():
        position = int(wrong.argmax())
        raise InvalidRequest(
            f"{field}.values[{position}]",
            f"{values[position]}; must be from 0 to {shape[position % dims] - 1}",
        )
    return torch.from_numpy(numbers)


def _label(label: str, model: ServedModel, field: str) -> Tensor:
    if label not in model.label_index:
        raise InvalidRequest.unknown(field, label, model.label_index, Reason.LABEL_UNKNOWN)
    return torch.tensor([[model.label_index[label]]])


def _every(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    if not shape:
        return (torch.zeros(1, 0, dtype=torch.int64),)
    every = torch.cartesian_prod(*(torch.arange(length) for length in shape))
    return every.view(-1, 1, len(shape)).unbind(0)
