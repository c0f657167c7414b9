"""Inputs whose first dimension is not the examples, such as lists of indices of any length.

Each is given whole to every example. Its first dimension is explained as one: all indices of a list
are one feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.baselines import spread_baseline
from adcaptum.attr.facade.forms import BaselineType, Forward, Tensors
from adcaptum.attr.facade.forwards import callable_of
from adcaptum.attr.facade.masks import whole_numbers


@dataclass(frozen=True, slots=True, eq=False)
class Unaligned:
    """Inputs of different lengths in a form in which all have a row for each example.

    Attributes:
        forward: The forward; it gets the inputs of other lengths as they were given.
        inputs: All inputs, with a row for each example of the first.
        baselines: Their baselines.
        feature_mask: Their masks.
        originals: The inputs as they were given.
        loose: For each input whether its first dimension is not the examples.
    """

    forward: Forward
    inputs: tuple[Tensor, ...]
    baselines: BaselineType
    feature_mask: tuple[Tensor, ...]
    originals: tuple[Tensor, ...]
    loose: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        forward_func: Forward,
        inputs: Tensors,
        baselines: BaselineType,
        feature_mask: Tensors | None,
    ) -> Self | None:
        """Takes a method's arguments; returns None if all inputs have a row for each example.

        Raises:
            InvalidInput: If there is not one baseline or mask for each input.
        """
        if not isinstance(inputs, tuple) or not all(isinstance(t, Tensor) for t in inputs):
            return None
        if len({t.shape[:1] for t in inputs}) < 2 or any(t.dim() == 0 for t in inputs):
            return None
        if not len(inputs[0]):
            return None
        count = len(inputs[0])
        loose = tuple(len(t) != count for t in inputs)
        masks = _masks(inputs, feature_mask)
        whole = callable_of(forward_func)

        def forward(*arguments: object) -> object:
            own = (_first(a) if i < len(loose) and loose[i] else a for i, a in enumerate(arguments))
            return whole(*own)

        return cls(
            forward,
            tuple(
                t.detach().expand(count, *t.shape) if away else t
                for t, away in zip(inputs, loose, strict=True)
            ),
            _baselines(baselines, inputs, loose),
            tuple(
                m.expand(1, *t.shape[1:])[None] if away else m
                for m, t, away in zip(masks, inputs, loose, strict=True)
            ),
            inputs,
            loose,
        )

    def restored(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns attributions in the form of the inputs as given, (outputs, *features) each."""
        made = []
        for v, t in zip(values, self.originals, strict=True):
            if v.dim() == t.dim():
                made.append(v)
            elif len(t):
                made.append(v[:, 0])
            else:
                made.append(v.new_zeros(len(v), *t.shape[1:]))
        return tuple(made)


def _first(argument: object) -> object:
    assert isinstance(argument, Tensor), "inputs are tensors"
    return argument[0]


def _masks(inputs: tuple[Tensor, ...], masks: Tensors | None) -> tuple[Tensor, ...]:
    if masks is None:
        made, first = [], 0
        for t in inputs:
            size = t.shape[1:].numel()
            ids = torch.arange(first, first + size, device=t.device)
            made.append(ids.view(1, *t.shape[1:]))
            first += size
        return tuple(made)
    each = whole_numbers("feature_mask", masks)
    if len(each) != len(inputs):
        raise InvalidInput("feature_mask", f"{len(each)} of them", f"one per input: {len(inputs)}")
    return each


def _baselines(
    baselines: BaselineType, inputs: tuple[Tensor, ...], loose: tuple[bool, ...]
) -> BaselineType:
    if baselines is None:
        return None
    each = baselines if isinstance(baselines, tuple) else (baselines,)
    if len(each) != len(inputs):
        raise InvalidInput("baselines", f"{len(each)} of them", f"one per input: {len(inputs)}")
    return tuple(
        _expanded(f"baselines[{i}]", b, t) if away else b
        for i, (b, t, away) in enumerate(zip(each, inputs, loose, strict=True))
    )


def _expanded(name: str, baseline: Tensor | float, like: Tensor) -> Tensor | float:
    rows = spread_baseline(name, baseline, like)
    if not isinstance(rows, Tensor):
        return rows
    if rows.shape[:1] not in {(1,), like.shape[:1]} or rows.shape[1:] != like.shape[1:]:
        raise InvalidInput(name, f"of shape {tuple(rows.shape)}", f"(1, *{tuple(like.shape[1:])})")
    return rows.expand(like.shape)[None]
