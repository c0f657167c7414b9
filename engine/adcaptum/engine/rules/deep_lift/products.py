"""Multipliers of products: polynomials of degree two, and functions affine in each argument.

The Shapley values of the two factors of a product x y are x times the mean of y, and y times the
mean of x, over row and reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from adcaptum.engine.rules.deep_lift.differences import binary, pairs_of, two, uncovered
from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Interception, attach, completed, depends, large
from adcaptum.engine.rules.pairs import Pairs


def midpoint(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Polynomials of degree two: the gradient half-way between row and reference is complete.

    For a product of two activations it is x times the mean of y, plus y times the mean of x: the
    Shapley values of the two factors.
    """
    pairs = pairs_of(interception)
    with torch.no_grad():
        value = run_plain(func, args, kwargs)
    halfway = {key: _halfway(pairs, t) for key, t in kwargs.items()}
    surrogate = run_plain(func, tuple(_halfway(pairs, t) for t in args), halfway)
    return attach(value, surrogate)


def product(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Operations affine in each argument: plain for one activation, half-way for two."""
    count = _dependents((*args, *kwargs.values()))
    if count == 1:
        return _of_examples(interception, func, args, kwargs)
    name = str(func.__name__)
    if count > 2 and name.startswith(("einsum", "bilinear")):
        return uncovered(interception, func, args, kwargs)
    if len(args) == 2 and not kwargs and depends(args[0]) and depends(args[1]):
        a, b = args
        matrices = name in {"matmul", "bmm"} and a.dim() > 2 and a.shape[:-2] == b.shape[:-2]
        alike = a.is_complex() == b.is_complex()
        if alike and (matrices or (name == "mul" and a.shape == b.shape)):
            pairs = pairs_of(interception)
            with torch.no_grad():
                value = run_plain(func, args, kwargs)
                own = pairs.example_rows(a, b)
                starts = [pairs.references_of(t, own) for t in args]
                middles = [
                    torch.lerp(t.detach()[:own], t0, 0.5)
                    for t, t0 in zip(args, starts, strict=True)
                ]
            return _Product.apply(a, b, [value], *middles, matrices)  # type: ignore[no-untyped-call]
    return midpoint(interception, func, args, kwargs)


def _of_examples(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Runs a linear operation with its plain gradient, but none for reference rows."""
    x = args[0] if args else None
    real = x is not None and depends(x) and not x.is_complex()
    if func is linear and not kwargs and x is not None and real and large(x):
        pairs = pairs_of(interception)
        count = pairs.example_rows(x)
        same = count is not None and x.dtype == args[1].dtype and args[1].dim() == 2
        if same and not torch.is_autocast_enabled(x.device.type):
            with torch.no_grad():
                value = run_plain(func, args, kwargs)
            return _Linear.apply(x, [value], args[1].detach(), count)  # type: ignore[no-untyped-call]
    return run_plain(func, args, kwargs)


class _Linear(torch.autograd.Function):
    """A linear layer with gradients for its first rows only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], weight: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.count = x.shape, count
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        gradient = gradients[0][: ctx.count]
        whole = gradient.new_empty(ctx.shape)
        whole[ctx.count :] = 0
        own = whole[: ctx.count].view(-1, weight.shape[1])
        torch.mm(gradient.reshape(-1, weight.shape[0]), weight, out=own)
        return whole, None, None, None


class _Product(torch.autograd.Function):
    """A product in which each factor's gradient is the other's mean over row and reference."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,  # noqa: ARG004 - autograd's signature
        b: Tensor,  # noqa: ARG004
        value: list[Tensor],
        of_b: Tensor,
        of_a: Tensor,
        mm: bool,
    ) -> Tensor:
        ctx.save_for_backward(of_b, of_a)
        ctx.mm = mm
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        rows = len(gradients[0])
        gradient = gradients[0][: len(a)]
        # Autograd's gradient g of a complex z is the one with dL = Re(conj(g) dz).
        of_a = torch.matmul(gradient, b.mH) if ctx.mm else gradient * b.conj()
        of_b = torch.matmul(a.mH, gradient) if ctx.mm else gradient * a.conj()
        return completed(of_a, rows), completed(of_b, rows), None, None, None, None


def power(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Powers; the square is exact."""
    _, exponent, _ = two(func, args, kwargs, "exponent")
    if not isinstance(exponent, Tensor) and exponent == 2:
        return midpoint(interception, func, args, kwargs)
    return binary(interception, func, args, kwargs)


def _halfway(pairs: Pairs, value: Any) -> Any:
    """Moves a tensor, or those of a list, half-way to the reference by adding a constant."""
    if depends(value):
        return value + (pairs.of(value) - value.detach()) / 2
    if isinstance(value, list | tuple) and any(depends(v) for v in value):
        return [_halfway(pairs, v) for v in value]
    return value


def _dependents(values: Any) -> int:
    count = 0
    for value in values:
        if isinstance(value, list | tuple):
            count += _dependents(value)
        else:
            count += depends(value)
    return count
