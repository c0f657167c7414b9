"""Targets: the outputs that a request wants explained."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.wire.tensors import shown
from adcaptum.v1 import explanation_pb2

MOST_TARGETS: Final = 4096
"""The most outputs of an example that are explained in one request."""

MOST_CACHED_INDICES: Final = 16
"""The longest list of indices in the cache, whose entries then take less than 1 kB each."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetChoice:
    """The outputs that are explained.

    Attributes:
        known: The index of each example's output, int64 `(examples, dims)`, one tensor per target;
            None where the values of the outputs decide.
        most: The number of largest outputs, where these decide.
    """

    known: tuple[Tensor, ...] | None = None
    most: int = 0

    @property
    def count(self) -> int:
        """The number of outputs of each example that are explained."""
        return self.most if self.known is None else len(self.known)

    def given(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the targets by the outputs, `(examples, *output)`."""
        if self.known is not None:
            return self.known
        # topk leaves the order of equal values open; a stable sort takes the first.
        order = outputs.flatten(1).sort(dim=1, descending=True, stable=True).indices.cpu()
        shape = outputs.shape[1:]
        if len(shape) == 1:
            return order[:, : self.most].clone().split(1, dim=1)
        return tuple(
            torch.stack(torch.unravel_index(order[:, rank], shape), dim=1)
            for rank in range(self.most)
        )


def read(message: explanation_pb2.Target, model: ServedModel, count: int) -> TargetChoice:
    """Reads the target of a request with `count` examples.

    Raises:
        InvalidRequest: It is not one that the model has.
    """
    shape = model.checks.output_shape
    outputs = math.prod(shape)
    kind = message.WhichOneof("kind")
    if kind is None or kind == "argmax":
        return _all(shape, count) if outputs == 1 else TargetChoice(most=1)
    if kind == "indices":
        values = tuple(message.indices.values)
        few = len(values) <= MOST_CACHED_INDICES
        return (_few_indices if few else _indices)(values, shape, count)
    if kind == "label":
        return TargetChoice((_label(message.label, model).expand(count, 1),))
    if kind == "all":
        return _all(shape, count)
    most = min(outputs, MOST_TARGETS)
    if not 1 <= message.top_k <= most:
        raise InvalidRequest("target.top_k", f"{message.top_k}; must be from 1 to {most}")
    return TargetChoice(most=message.top_k)


def _indices(values: tuple[int, ...], shape: tuple[int, ...], count: int) -> TargetChoice:
    dims = len(shape)
    if not dims and values:
        raise InvalidRequest(
            "target.indices",
            f"{shown(values)}; the model gives one number per example: leave the target out",
        )
    if not dims:
        return _all(shape, count)
    if len(values) not in (dims, dims * count):
        each = "one number" if dims == 1 else f"{dims} numbers"
        raise InvalidRequest(
            "target.indices", f"{len(values)} numbers; must be {each} per example, or for all"
        )
    for position, value in enumerate(values):
        length = shape[position % dims]
        if not 0 <= value < length:
            raise InvalidRequest(
                f"target.indices.values[{position}]", f"{value}; must be from 0 to {length - 1}"
            )
    return TargetChoice(
        (torch.tensor(values, dtype=torch.int64).view(-1, dims).expand(count, dims),)
    )


_few_indices = lru_cache(maxsize=1024)(_indices)


def _label(label: str, model: ServedModel) -> Tensor:
    if label not in model.label_index:
        hint = did_you_mean(label, model.label_index)
        raise InvalidRequest("target.label", f"there is no label {shortened(label)}. {hint}")
    return torch.tensor([[model.label_index[label]]])


def _all(shape: tuple[int, ...], count: int) -> TargetChoice:
    outputs = math.prod(shape)
    if outputs > MOST_TARGETS:
        raise InvalidRequest("target.all", f"{outputs} outputs; at most {MOST_TARGETS} are allowed")
    if not shape:
        return TargetChoice((torch.zeros(1, 0, dtype=torch.int64).expand(count, 0),))
    every = torch.cartesian_prod(*(torch.arange(length) for length in shape))
    rows = every.view(-1, len(shape))
    return TargetChoice(tuple(row.expand(count, len(shape)) for row in rows))
