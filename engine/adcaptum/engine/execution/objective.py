"""The numbers of a batch that are read or differentiated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from adcaptum.engine.errors import ModelError, NotPerRow
from adcaptum.engine.execution.backward import number_of_each_row, out_of_range
from adcaptum.engine.execution.taps import Taps
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.target import Neuron


def objective_of(first: Evaluation, taps: Taps, output: object, rows: int) -> Tensor:
    """Returns the numbers that are read or differentiated, or are chosen from: (rows, *dims)."""
    target = first.target
    if isinstance(target, Neuron):
        tensors = taps.values(target.site)
        if target.one:
            return tensors[0]
        return _selected(target, tensors, rows)
    if not first.outputs:
        (some, *_) = taps.values(first.read) if first.read else (torch.empty(rows),)
        return some.new_empty(rows, 0)
    return first_tensor(output, rows)


def _selected(neuron: Neuron, tensors: tuple[Tensor, ...], rows: int) -> Tensor:
    """The number of each row that a block of elements or a function gives, (rows,)."""
    if callable(neuron.index):
        return number_of_each_row(neuron.index, tensors)
    try:
        block = tensors[0][(slice(None), *neuron.index)]
    except IndexError as error:
        raise out_of_range(neuron.index, tensors[0]) from error
    if not block.numel():
        raise out_of_range(neuron.index, tensors[0])
    return block.reshape(rows, -1).sum(1)


def first_tensor(output: object, rows: int) -> Tensor:
    """Returns the first tensor of a model's output, (rows, *dims).

    Raises:
        ModelError: If there is none.
        NotPerRow: If it has not one entry per row.
    """
    tensor = output
    if not isinstance(tensor, Tensor):
        tensor = next((t for t in tree_leaves(output) if isinstance(t, Tensor)), None)
    if not isinstance(tensor, Tensor):
        raise ModelError(f"the model returned {type(output).__name__} without a tensor in it")
    if tensor.dim() == 0 or tensor.shape[0] != rows:
        raise NotPerRow(
            f"the model's output has shape {tuple(tensor.shape)}: its first dimension should be "
            f"the {rows} rows of the batch"
        )
    return tensor
