"""Autograd functions whose backward passes relevance instead of gradients.

In the graph of a batch under relevance propagation, autograd's "gradient" of a tensor is its
relevance. Operations that move numbers move relevance in the same way; the functions here replace
all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from adcaptum.engine.rules.lrp.affine_rules import divided

# The context of an autograd function: its forward sets attributes of any type on it.
Context = Any


class Kept:
    """A value for backward; `Propagation` copies it before the model overwrites it."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


class Layer(Function):
    """An affine map; relevance goes to its input by the map's rule."""

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,  # noqa: ARG004 - the graph's
        y: Tensor,
        relevance: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Returns y, computed before."""
        ctx.relevance = relevance
        return y.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Applies the rule."""
        (R,) = grads
        return ctx.relevance(R), None, None


class Passed(Function):
    """A function that hands its relevance to its arguments unchanged, a part to each."""

    @staticmethod
    def forward(ctx: Context, y: Tensor, parts: tuple[float, ...], *arguments: Tensor) -> Tensor:
        """Returns y, computed before; the arguments broadcast to its shape."""
        ctx.parts = parts
        ctx.shapes = tuple(x.shape for x in arguments)
        return y.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Hands the relevance on, summed over broadcast dimensions."""
        (R,) = grads
        shares = []
        for part, shape in zip(ctx.parts, ctx.shapes, strict=True):
            share = R if part == 1 else R * part
            shares.append(share if share.shape == shape else share.sum_to_size(shape))
        return (None, None, *shares)


class Enter(Function):
    """The entrance of a linear operation: backward multiplies by the value."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, kept: Kept, part: float) -> Tensor:
        """Returns x."""
        ctx.kept = kept
        ctx.part = part
        return x.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Multiplies by the value and the part."""
        (s,) = grads
        product = s * ctx.kept.tensor
        return (product if ctx.part == 1 else product * ctx.part), None, None


class Leave(Function):
    """The exit of a linear operation: backward divides relevance by the value."""

    @staticmethod
    def forward(ctx: Context, y: Tensor, kept: Kept, epsilon: float | None) -> Tensor:
        """Returns y."""
        ctx.kept = kept
        ctx.epsilon = epsilon
        return y.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Divides by the stabilised value."""
        (R,) = grads
        return divided(R, ctx.kept.tensor, ctx.epsilon), None, None


class Softmax(Function):
    """Softmax to first order: R_i = x_i (R_i - y_i sum_j R_j).

    Achtibat et al. (2024), https://arxiv.org/abs/2402.05602, proposition 3.1.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor, kept: tuple[Kept, Kept], dim: int) -> Tensor:  # noqa: ARG004
        """Returns y, computed before."""
        ctx.kept = kept
        ctx.dim = dim
        return y.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Applies the expansion of first order."""
        (R,) = grads
        x, y = (kept.tensor for kept in ctx.kept)
        # Masked elements are -inf, and have no relevance.
        x = torch.where(x.isinf(), 0, x)
        return (x * (R - y * R.sum(ctx.dim, keepdim=True))).to(x.dtype), None, None, None


class Centred(Function):
    """A normalisation: its scale counts as a constant, its centring as a linear operation.

    Ali et al. (2022), https://arxiv.org/abs/2202.07304, equations 8 and 9; Achtibat et al. (2024),
    proposition 3.4: the standard deviation gets no relevance.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,  # noqa: ARG004 - the graph's
        y: Tensor,
        kept: tuple[Kept, Kept],
        scales: tuple[Tensor | None, Tensor, Tensor | None],
        epsilon: float | None,
    ) -> Tensor:
        """Returns y, computed before.

        Args:
            ctx: The context, for backward.
            x: The values to normalise.
            y: The normalised values.
            kept: x, and the divisor of relevance.
            scales: The factors of the centred values: the weight, which broadcasts to x, and the
                inverse deviation of each group, (*groups, 1), where x is reshaped to groups in its
                logical order; and the bias, if its share is handed on.
            epsilon: The stabiliser of the division.
        """
        ctx.kept, ctx.scales, ctx.epsilon = kept, scales, epsilon
        return y.detach()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Shares the relevance among the elements of each group."""
        (R,) = grads
        x, z = (kept.tensor for kept in ctx.kept)
        weight, deviation, bias = ctx.scales
        s = divided(R, z, ctx.epsilon)
        own = 0 if bias is None else s * bias
        s = s if weight is None else s * weight
        s = s.reshape(*deviation.shape[:-1], -1) * deviation
        s = s - s.mean(-1, keepdim=True)
        return (s.reshape(x.shape) * x + own).to(x.dtype), None, None, None, None


def applied(function: type[Function], *arguments: object) -> Tensor:
    """Applies an autograd function."""
    result: Tensor = function.apply(*arguments)
    return result


def layer_behind(tensor: Tensor) -> bool:
    """Returns whether relevance of the tensor passes a `Layer` on its way to the input."""
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, _LAYER_NODE):
            return True
        seen.add(node)
        waiting.extend(before for before, _ in node.next_functions)
    return False


_LAYER_NODE: type = Layer._backward_cls  # noqa: SLF001 - not public
