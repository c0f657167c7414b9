"""Losses of a model's outputs as calls that the engine can run, a number for each example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.captum_call import CaptumCall, input_tensors
from adcaptum.attr.facade.forms import Forward, Tensors
from adcaptum.attr.facade.forwards import callable_of
from adcaptum.engine.execution.training_mode import check_mode
from adcaptum.engine.vocabulary.arguments import PerExample

Loss = Callable[..., Tensor]


def loss_call(
    forward_func: Forward,
    loss_func: Loss | None,
    inputs: Tensors,
    target: Any,
    additional_forward_args: object = None,
) -> CaptumCall:
    """Returns the call whose output is each example's loss.

    Args:
        forward_func: The model.
        loss_func: A function of the outputs and the target: a number for each example, or one for
            all, which is then computed for each example alone. None: the negative logarithm of the
            target's output, a probability.
        inputs: The inputs.
        target: The target of the loss; a tensor or list of a value for each example is cut with
            the rows.
        additional_forward_args: Further arguments of the model.
    """
    whole = callable_of(forward_func)
    with translated():
        check_mode(whole)

    def negative_logarithm(*arguments: Any) -> Tensor:
        outputs = whole(*arguments)
        if not isinstance(outputs, Tensor):
            found = f"one that returns {type(outputs)}"
            raise InvalidInput("forward_func", found, "one of probabilities, or give a loss_func")
        return -torch.log(outputs)

    if loss_func is None:
        return CaptumCall.of(
            negative_logarithm,
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
        )
    count = len(input_tensors(inputs)[0])
    given = additional_forward_args
    further = () if given is None else given if isinstance(given, tuple) else (given,)
    rows = PerExample(torch.arange(count, device=input_tensors(inputs)[0].device))

    def loss(*arguments: Any) -> Tensor:
        *of_model, numbers = arguments
        return _of_each(loss_func, whole(*of_model), _chosen(target, numbers, count), len(numbers))

    return CaptumCall.of(loss, inputs, additional_forward_args=(*further, rows))


def _chosen(target: Any, numbers: Tensor, count: int) -> Any:
    """The target of some examples, if it has a value for each."""
    if isinstance(target, Tensor) and target.dim() and len(target) == count:
        return target[numbers.to(target.device)]
    if isinstance(target, list) and len(target) == count:
        return [target[i] for i in numbers.tolist()]
    return target


def _of_each(loss_func: Loss, outputs: Any, target: Any, rows: int) -> Tensor:
    """The loss of each row, (rows,)."""
    found = loss_func(outputs, target)
    if not isinstance(found, Tensor):
        raise InvalidInput("loss_func", f"one that returns {type(found)}", "one of tensors")
    if found.dim() == 0 and rows > 1:
        found = torch.stack(
            [loss_func(_row(outputs, i, rows), _row(target, i, rows)) for i in range(rows)]
        )
    if found.numel() != rows:
        allowed = f"one number for each of {rows} examples, or one for all"
        raise InvalidInput("loss_func", f"one that returns {tuple(found.shape)}", allowed)
    return found.reshape(rows)


def _row(values: Any, i: int, rows: int) -> Any:
    """The i-th of values that have one for each row, in a batch of one; others as they are."""
    if isinstance(values, list) and len(values) == rows and not isinstance(values[0], Tensor):
        return values[i : i + 1]
    return tree_map(
        lambda t: t[i : i + 1] if isinstance(t, Tensor) and t.dim() and len(t) == rows else t,
        values,
    )
