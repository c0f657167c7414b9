"""Forwards in Captum's forms."""

from __future__ import annotations

from inspect import signature

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput, OutOfRange
from adcaptum.attr.facade.forms import Forward
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.execution.forwards.futures import following


def callable_of(forward_func: Forward) -> Model:
    """Returns the function to evaluate: of a DataParallel model, the module that it wraps.

    Rows go through one device: replicas would give the same output. A function without
    parameters is called without the inputs.
    """
    if isinstance(forward_func, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module: nn.Module = forward_func.module
        return module
    if isinstance(forward_func, nn.Module):
        return forward_func
    try:
        takes_nothing = not signature(forward_func).parameters
    except (TypeError, ValueError):  # a builtin may have no signature
        takes_nothing = False
    return (lambda *_rows: forward_func()) if takes_nothing else forward_func


def selecting(whole: Model, target: tuple[int | slice, ...]) -> Model:
    """Returns the model followed by a selection from its output."""

    def chosen(output: object) -> Tensor:
        if not isinstance(output, Tensor) or len(target) >= output.dim():
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output)
            raise InvalidInput("target", str(target), f"an index into the output, {shape}")
        try:
            return output[(slice(None), *target)]
        except IndexError as error:
            raise OutOfRange("target", str(target), f"within {tuple(output.shape[1:])}") from error

    def selected(*arguments: object) -> object:
        output = whole(*arguments)
        if isinstance(output, torch.Future):
            return following(output, chosen)
        return chosen(output)

    return selected
