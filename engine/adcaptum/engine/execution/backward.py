"""Gradients of a target, and the part of them that flows through chosen neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward as run_backward

from adcaptum.engine.errors import InvalidArgument, OutOfRange
from adcaptum.engine.vocabulary.target import Neuron


def gradients(
    outputs: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    seeds: tuple[Tensor, ...],
    *,
    again: bool = False,
) -> tuple[Tensor, ...]:
    """Returns the product of seeds and Jacobian; zeros for a leaf without a path to the outputs.

    Args:
        outputs: The differentiated numbers.
        leaves: The tensors with respect to which they are differentiated.
        seeds: A weight for each number of the outputs.
        again: Whether to keep the graph for a second backward pass.
    """
    # As `torch.autograd.grad`, whose checks of seeds cost a fifth of a small model's gradient.
    found: Sequence[Tensor | None] = run_backward(
        outputs, seeds, again, False, leaves, True, accumulate_grad=False
    )
    return tuple(
        [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]
    )


def kept(
    neuron: Neuron, tensors: tuple[Tensor, ...], above: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Returns the part of a target's gradient at a layer that flows through its neurons.

    Dhamdhere, Sundararajan, Yan (2018), https://arxiv.org/abs/1805.12233, equation 3: for each
    neuron dF/dy, to be multiplied with its dy/dx. Each neuron of a block has its own, so that the
    block's conductance is the sum over its neurons.

    For a function of the layer's values, its own derivative is each neuron's part: 1 for neurons
    that it selects or adds up, 0 for the others.

    Args:
        neuron: The neurons.
        tensors: The layer's values, (rows, *features) each.
        above: The target's gradient with respect to them.

    Raises:
        InvalidArgument: If the index does not fit the layer, or the function gives more than one
            number per row.
    """
    if callable(neuron.index):
        copies = tuple(t.detach().requires_grad_() for t in tensors)
        chosen = number_of_each_row(neuron.index, copies)
        if not chosen.requires_grad:
            return tuple(torch.zeros_like(t) for t in above)
        shares = gradients((chosen,), copies, (torch.ones_like(chosen),))
        return tuple(share * gradient for share, gradient in zip(shares, above, strict=True))
    if neuron.one and len(neuron.index) != tensors[0].dim() - 1:
        raise out_of_range(neuron.index, tensors[0])
    rest = tuple(torch.zeros_like(t) for t in above)
    where = (slice(None), *neuron.index)
    try:
        rest[0][where] = above[0][where]
    except IndexError as error:
        raise out_of_range(neuron.index, tensors[0]) from error
    return rest


def number_of_each_row(function: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> Tensor:
    """Returns the number that a function of a layer's values gives each row, (rows,).

    A function that gives one number for the whole batch is called for each row alone.

    Raises:
        InvalidArgument: If the function gives anything else than one number per row.
    """
    rows = len(tensors[0])
    number: object = function(*tensors)
    if isinstance(number, Tensor) and number.numel() == 1 < rows:
        each = [function(*(t[row : row + 1] for t in tensors)) for row in range(rows)]
        number = torch.stack([n.reshape(()) for n in each])
    if isinstance(number, Tensor) and number.dim() == 0:
        number = number.reshape(1)
    if not isinstance(number, Tensor) or number.shape[:1] != (rows,) or number.numel() != rows:
        form = tuple(number.shape) if isinstance(number, Tensor) else type(number).__name__
        raise InvalidArgument(
            "neuron", f"a function that gave {form}", f"one number per row, ({rows},)"
        )
    return number.reshape(rows)


def out_of_range(index: tuple[int | slice, ...], tensor: Tensor) -> InvalidArgument:
    """Makes the error of a neuron's index that does not fit a layer."""
    shape = tuple(tensor.shape[1:])
    whole = all(isinstance(i, int) for i in index)
    fits = len(index) == len(shape) or (not whole and len(index) < len(shape))
    kind = OutOfRange if fits else InvalidArgument
    return kind("neuron", str(index), f"an index into the layer's shape without the rows, {shape}")
