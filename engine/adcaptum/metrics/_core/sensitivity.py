"""The largest sensitivity of explanations in Captum's form."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.captum_call import input_tensors
from adcaptum.attr.facade.copies import repeated, repeated_rows
from adcaptum.attr.facade.forms import Tensors
from adcaptum.metrics.batching import sizes_of


def default_perturb_func(inputs: Tensors, perturb_radius: float = 0.02) -> tuple[Tensor, ...]:
    """Adds uniform noise within a radius to each element, in the inputs' dtype.

    The draws follow `torch.manual_seed`, on the CPU whatever the inputs are on.
    """
    floating = (t if t.is_floating_point() else t.float() for t in input_tensors(inputs))
    return tuple(t + _noise(t, perturb_radius) for t in floating)


def sensitivity_max(
    explanation_func: Callable[..., Any],
    inputs: Tensors,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: float | str = "fro",
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    """Measures the largest relative change of explanations under small changes of the inputs.

    max ||explanation(x') - explanation(x)|| / ||explanation(x)|| over samples x'; of a zero
    explanation the change itself. Yeh, Hsieh, Suggala, Inouye, Ravikumar (2019),
    https://arxiv.org/abs/1901.09392, section 3, estimated by sampling.

    Args:
        explanation_func: A function of inputs and further arguments that returns attributions, such
            as a method's `attribute`. It gets the examples as a tuple, and perturbed ones as
            `perturb_func` returns them.
        inputs: A tensor, or a tuple of one per input.
        perturb_func: A function of inputs, and of the radius if it takes two arguments.
        perturb_radius: The radius.
        n_perturb_samples: The number of perturbations of each example.
        norm_ord: The order of the norm; "fro" is 2.
        max_examples_per_batch: The most perturbed examples that are explained at once; None: all.
        **kwargs: Further arguments of the explanation. Those with a value for each example (target,
            additional_forward_args, baselines, feature_mask) are repeated for its perturbations.

    Returns:
        The sensitivity of each example, (examples,).
    """
    order = _checked_order(norm_ord)
    tensors = input_tensors(inputs)
    count = len(tensors[0])
    takes_radius = len(signature(perturb_func).parameters) > 1
    with torch.no_grad():
        plain = _flat(explanation_func(tensors, **kwargs), count)
        length = torch.linalg.vector_norm(plain, order, dim=1)
        length = torch.where(length == 0, torch.ones_like(length), length)
        largest = torch.zeros_like(length)
        for size in sizes_of(n_perturb_samples, count, max_examples_per_batch):
            many = tuple(t.repeat_interleave(size, 0) for t in tensors)
            bare = many if len(many) > 1 else many[0]
            moved = perturb_func(bare, perturb_radius) if takes_radius else perturb_func(bare)
            found = explanation_func(moved, **_repeated(kwargs, tensors, size))
            there = _flat(found, count * size).view(count, size, -1)
            changes = torch.linalg.vector_norm(there - plain[:, None], order, dim=2)
            # amax keeps NaN: an explanation that is none is no small change.
            largest = torch.maximum(largest, changes.amax(1) / length)
    return largest.to(torch.promote_types(_dtype(tensors), torch.float32))


def _noise(like: Tensor, radius: float) -> Tensor:
    return torch.empty(like.shape).uniform_(-radius, radius).to(like)


def _dtype(tensors: tuple[Tensor, ...]) -> torch.dtype:
    return tensors[0].dtype if tensors[0].is_floating_point() else torch.float32


def _checked_order(norm_ord: float | str) -> float:
    if norm_ord == "fro":
        return 2.0
    if isinstance(norm_ord, str):
        raise InvalidInput("norm_ord", repr(norm_ord), '"fro" or a number')
    return float(norm_ord)


def _flat(attributions: Any, rows: int) -> Tensor:
    """Each row's attributions of all inputs, float64 of shape (rows, elements)."""
    each = attributions if isinstance(attributions, tuple) else (attributions,)
    for a in each:
        if not isinstance(a, Tensor) or a.dim() == 0 or len(a) != rows:
            shape = f"of shape {tuple(a.shape)}" if isinstance(a, Tensor) else f"of type {type(a)}"
            found = f"one that returns attributions {shape}"
            raise InvalidInput("explanation_func", found, f"one of {rows} rows for {rows} examples")
    return torch.cat([a.detach().double().reshape(rows, -1) for a in each], 1)


def _repeated(kwargs: dict[str, Any], inputs: tuple[Tensor, ...], size: int) -> dict[str, Any]:
    """The explanation's arguments for the perturbed examples."""
    others = dict(kwargs)
    for name in {"additional_forward_args", "target"} & others.keys():
        others[name] = repeated(others[name], len(inputs[0]), size)
    for name in {"baselines", "feature_mask"} & others.keys():
        others[name] = repeated_rows(others[name], inputs, size)
    return others
