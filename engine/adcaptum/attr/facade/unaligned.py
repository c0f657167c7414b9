"""Inputs that have not a row for each example, such as lists of indices of any length.

Each is shown whole to every example, and its first dimension is explained as one: a list's indices
are one feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.captum_call import BaselineType, Forward, Tensors, callable_of


@dataclass(frozen=True, slots=True, eq=False)
class Unaligned:
    """Such inputs among others, as if all had a row for each example.

    Attributes:
        forward: The forward, which is given those inputs as they were.
        inputs: All inputs, with a row for each example of the first.
        baselines: Their baselines.
        feature_mask: Their masks.
        originals: The inputs as they were given.
    """

    forward: Forward
    inputs: tuple[Tensor, ...]
    baselines: BaselineType
    feature_mask: tuple[Tensor, ...]
    originals: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        forward_func: Forward,
        inputs: Tensors,
        baselines: BaselineType,
        feature_mask: Tensors | None,
    ) -> Self | None:
        """Takes the arguments of a method; None where all inputs have a row for each example."""
        if not isinstance(inputs, tuple) or not all(isinstance(t, Tensor) for t in inputs):
            return None
        if len({t.shape[:1] for t in inputs}) < 2 or any(t.dim() == 0 for t in inputs):
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
        )

    def restored(self, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What was found, in the form of the inputs as they were: (outputs, *features)."""
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
    each = masks if isinstance(masks, tuple) else (masks,)
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
        b.expand(t.shape)[None] if away and isinstance(b, Tensor) else b
        for b, t, away in zip(each, inputs, loose, strict=True)
    )
