"""Infidelity in Captum's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import run_flow
from adcaptum.attr.facade.captum_call import CaptumCall, input_tensors
from adcaptum.attr.facade.copies import repeated_rows
from adcaptum.attr.facade.forms import BaselineType, Forward, TargetType, Tensors
from adcaptum.engine.metrics.infidelity import Infidelity
from adcaptum.metrics.attributions import checked_attributions
from adcaptum.metrics.batching import sizes_of

Perturb = Callable[..., Any]


def infidelity_perturb_func_decorator(multiply_by_inputs: bool | Perturb = True) -> Any:
    """Makes a function that returns perturbed inputs one for `infidelity`.

    The made function returns the perturbations, too: x - x', or, for attributions that are
    multiplied by the inputs' difference to the baseline, (x - x') / (x - baseline), where a zero
    denominator counts as 1. Used with or without parentheses.

    Args:
        multiply_by_inputs: Whether the attributions are multiplied by that difference.
    """
    if callable(multiply_by_inputs):
        return infidelity_perturb_func_decorator()(multiply_by_inputs)

    def decorated(perturb_func: Perturb) -> Perturb:
        def perturb(
            inputs: Tensors, baselines: BaselineType = None
        ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            given = perturb_func(inputs) if baselines is None else perturb_func(inputs, baselines)
            perturbed = input_tensors(given)
            tensors = input_tensors(inputs)
            each = baselines if isinstance(baselines, tuple) else (baselines,) * len(tensors)
            changes = tuple(t - other for t, other in zip(tensors, perturbed, strict=True))
            if multiply_by_inputs:
                changes = tuple(
                    _over(change, t if baseline is None else t - baseline)
                    for change, t, baseline in zip(changes, tensors, each, strict=True)
                )
            return changes, perturbed

        return perturb

    return decorated


def infidelity(
    forward_func: Forward,
    perturb_func: Perturb,
    inputs: Tensors,
    attributions: Tensors,
    baselines: BaselineType = None,
    additional_forward_args: object = None,
    target: TargetType = None,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    normalize: bool = False,
    *,
    return_standard_error: bool = False,
) -> Any:
    """Measures how far attributions are from predicting the output's changes.

    The mean square of (perturbation . attributions) - (f(x) - f(perturbed x)): Yeh, Hsieh, Suggala,
    Inouye, Ravikumar (2019), https://arxiv.org/abs/1901.09392, definition 2.1. It grows with the
    square of the attributions' scale, unless it is normalised.

    Args:
        forward_func: The model.
        perturb_func: A function of inputs (and baselines, if they are given) in which each example
            stands n times in a row. It returns the perturbations and the perturbed inputs, a tensor
            each, or a tuple of one per input.
        inputs: A tensor, or a tuple of one per input of the model.
        attributions: Of the same shapes.
        baselines: Baselines for `perturb_func`.
        additional_forward_args: Further arguments of the model.
        target: The explained output.
        n_perturb_samples: The number of perturbations of each example.
        max_examples_per_batch: The most perturbed examples that `perturb_func` makes at once; None:
            all. Batches of the model are the fastest ones.
        normalize: Whether to multiply each example's attributions with the factor for which its
            infidelity is least.
        return_standard_error: Whether to return the standard error of the mean, too, (examples,).

    Returns:
        The infidelity of each example, (examples,).

    Raises:
        InvalidInput: If shapes do not fit.
    """
    call = CaptumCall.of(
        forward_func, inputs, target=target, additional_forward_args=additional_forward_args
    )
    tensors = call.explicand.inputs
    each = checked_attributions(attributions, tensors)

    def draw(size: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        repeated = tuple(t.repeat_interleave(size, 0) for t in tensors)
        arguments: list[Any] = [repeated if len(repeated) > 1 else repeated[0]]
        if baselines is not None:
            more = repeated_rows(baselines, tensors, size)
            single = isinstance(more, tuple) and len(more) == 1
            arguments.append(more[0] if single else more)
        with torch.no_grad():
            perturbations, perturbed = perturb_func(*arguments)
        return _checked_draw(perturbations, perturbed, repeated)

    measure = Infidelity(
        draw, sizes_of(n_perturb_samples, len(tensors[0]), max_examples_per_batch), normalize
    )
    score = run_flow(call, measure.flow(call.explicand, each))
    return (score.values, score.standard_error) if return_standard_error else score.values


def _over(change: Tensor, difference: Tensor) -> Tensor:
    return change / torch.where(difference == 0, torch.ones_like(difference), difference)


def _checked_draw(
    perturbations: Any, perturbed: Any, inputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    changes = perturbations if isinstance(perturbations, tuple) else (perturbations,)
    rows = perturbed if isinstance(perturbed, tuple) else (perturbed,)
    for name, each in (("perturbations", changes), ("perturbed inputs", rows)):
        if len(each) != len(inputs):
            found = f"one that returns {len(each)} {name}"
            raise InvalidInput("perturb_func", found, f"one of each input: {len(inputs)}")
        for made, t in zip(each, inputs, strict=True):
            if not isinstance(made, Tensor) or made.shape != t.shape:
                shape = tuple(made.shape) if isinstance(made, Tensor) else type(made)
                found = f"one that returns {name} of shape {shape}"
                raise InvalidInput(
                    "perturb_func", found, f"the shape of its inputs: {tuple(t.shape)}"
                )
    return changes, rows
