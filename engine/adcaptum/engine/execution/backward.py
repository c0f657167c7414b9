"""The way back from a target: gradients, and what of them flows through chosen neurons."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument, OutOfRange
from adcaptum.engine.vocabulary.evaluation import Neuron


def gradients(
    outputs: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    seeds: tuple[Tensor, ...],
    *,
    again: bool = False,
) -> tuple[Tensor, ...]:
    """The product of seeds and Jacobian; zeros for a leaf that the outputs do not depend on.

    Args:
        outputs: What is differentiated.
        leaves: With respect to what.
        seeds: A weight for each number of the outputs.
        again: Whether the same graph will be walked once more.
    """
    return torch.autograd.grad(
        outputs, leaves, seeds, retain_graph=again, allow_unused=True, materialize_grads=True
    )


def kept(
    neuron: Neuron, tensors: tuple[Tensor, ...], above: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The part of a target's gradient at a layer that flows through its neurons.

    Dhamdhere, Sundararajan, Yan (2018), https://arxiv.org/abs/1805.12233, equation 3: for each
    neuron dF/dy, to be multiplied with its dy/dx. Of a block each neuron has its own, so that the
    block's conductance is the sum of its neurons'.

    Args:
        neuron: Which. A function has to choose an element of each row, not to compute with them.
        tensors: The layer's values, (rows, *features) each.
        above: The target's gradient with respect to them.

    Raises:
        InvalidArgument: If the index does not fit the layer.
    """
    if callable(neuron.index):
        copies = tuple(t.detach().requires_grad_() for t in tensors)
        chosen, weight = neuron.index(*copies), neuron.index(*above)
        ways = gradients((chosen,), copies, (torch.ones_like(chosen),))
        return tuple(weight.reshape(-1, *(1,) * (w.dim() - 1)) * w for w in ways)
    if neuron.one and len(neuron.index) != tensors[0].dim() - 1:
        raise out_of_range(neuron.index, tensors[0])
    rest = tuple(torch.zeros_like(t) for t in above)
    where = (slice(None), *neuron.index)
    try:
        rest[0][where] = above[0][where]
    except IndexError as error:
        raise out_of_range(neuron.index, tensors[0]) from error
    return rest


def out_of_range(index: tuple[int | slice, ...], tensor: Tensor) -> InvalidArgument:
    """The error of a neuron's index that does not fit a layer."""
    shape = tuple(tensor.shape[1:])
    whole = all(isinstance(i, int) for i in index)
    fits = len(index) == len(shape) or (not whole and len(index) < len(shape))
    kind = OutOfRange if fits else InvalidArgument
    return kind("neuron", str(index), f"an index into the layer's shape without the rows, {shape}")
