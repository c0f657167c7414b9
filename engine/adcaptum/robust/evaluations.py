"""Evaluations of several changed copies of a batch at once.

Preprocessed inputs are whatever a forward takes: its outputs go to a function of the caller's, and
need not be tensors. So the forward is called here as it is, on batches of the caller's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.forms import Forward
from adcaptum.attr.facade.forwards import callable_of
from adcaptum.engine.execution.training_mode import check_mode


def outputs_of(forward_func: Forward, copies: Sequence[Any], arguments: object) -> list[Any]:
    """Evaluates copies of a batch together; returns the outputs of each.

    Args:
        forward_func: The model.
        copies: The copies, each a tensor or a tuple or list of tensors; one alone may be anything.
        arguments: Further arguments of the model: tensors with a value for each example are
            repeated for the copies.
    """
    whole = callable_of(forward_func)
    with translated():
        check_mode(whole)
    further = (
        () if arguments is None else arguments if isinstance(arguments, tuple) else (arguments,)
    )
    with torch.no_grad():
        if len(copies) == 1:
            return [whole(copies[0], *further)]
        sizes = [count(copy) for copy in copies]
        repeated = [_repeated(argument, sizes[0], len(copies)) for argument in further]
        outputs = whole(_joined(copies), *repeated)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    parts = zip([0, *ends], ends, strict=False)
    return [_cut(outputs, start, end, ends[-1]) for start, end in parts]


def count(batch: Any) -> int:
    """The number of examples of a batch: the length of its first tensor, or of a list."""
    for leaf in tree_leaves(batch):
        if isinstance(leaf, Tensor):
            return len(leaf)
    if isinstance(batch, list):
        return len(batch)
    raise InvalidInput("inputs", f"of type {type(batch).__name__}", "tensors, or a list")


def rows_of(values: Any, rows: Tensor, examples: int) -> Any:
    """The values of some examples, where there is one for each; other values as they are."""
    if isinstance(values, Tensor):
        return values[rows.to(values.device)] if _of_each(values, examples) else values
    if isinstance(values, tuple):
        return type(values)(rows_of(value, rows, examples) for value in values)
    if isinstance(values, list) and len(values) == examples:
        return [values[i] for i in rows.tolist()]
    return values


def _of_each(value: Any, examples: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == examples


def _repeated(argument: Any, examples: int, times: int) -> Any:
    if _of_each(argument, examples):
        return argument.repeat(times, *(1,) * (argument.dim() - 1))
    return argument


def _joined(copies: Sequence[Any]) -> Any:
    first = copies[0]
    if isinstance(first, Tensor):
        return torch.cat([copy.to(first.device) for copy in copies])
    if isinstance(first, tuple):
        return tuple(_joined(parts) for parts in zip(*copies, strict=True))
    if isinstance(first, list):
        return [element for copy in copies for element in copy]
    allowed = "1 for inputs that are neither tensors nor tuples or lists"
    raise InvalidInput("perturbations_per_eval", len(copies), allowed)


def _cut(outputs: Any, start: int, end: int, rows: int) -> Any:
    if isinstance(outputs, list) and len(outputs) == rows:
        return outputs[start:end]
    return tree_map(lambda t: t[start:end] if _of_each(t, rows) else t, outputs)
