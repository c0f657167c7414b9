"""Multipliers from differences: the Rescale rule for functions of one or two elements.

A multiplier is the change of a function's output per unit of change of its input, between the
reference row and the row: Shrikumar, Greenside, Kundaje (2017), https://arxiv.org/abs/1704.02685,
equations 1 and 10.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import (
    Func,
    Interception,
    any_depends,
    attach,
    depends,
    large,
    scaled,
)
from adcaptum.engine.rules.pairs import Pairs

Function = Callable[[Tensor], Tensor]

# The assumed rounding error of a function's values, in machine epsilons of their size.
_ROUNDING = 1024


def elementwise(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Functions of each element: their multiplier is the quotient of the differences."""
    x, call = operand(func, args, kwargs)
    others = {key: value for key, value in kwargs.items() if value is not x}
    if not depends(x) or x.is_complex() or any_depends(args[1:], others):
        return uncovered(interception, func, args, kwargs)
    alone = not any(isinstance(t, Tensor) for t in (*args[1:], *others.values()))
    return rescaled(pairs_of(interception), x, call, alone=alone)


def relu(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """ReLU: its quotient is exact in floating point, but for 0 / 0 where nothing changes."""
    x, call = operand(func, args, kwargs)
    pairs = pairs_of(interception)
    with torch.no_grad():
        y = call(x.detach())
        count = pairs.example_rows(x) if large(y) else None
        start = pairs.references_of(x, count)
        difference = x.detach()[:count] - start
        # Recomputes the reference output: as cheap as gathering it, and not to be recorded.
        multiplier = (y[:count] - call(start)).div_(difference)
        if count is None:
            pairs.forget_references(multiplier, like=x)
        # The sum is NaN if there is a 0 / 0. On a GPU the test would cost more than the repair.
        if x.device.type != "cpu" or not isfinite(multiplier.sum().item()):
            same = difference == 0
            slope = torch.sign(y[:count], out=difference)
            torch.where(same, slope, multiplier, out=multiplier).nan_to_num_(0, 0, 0)
    return scaled(y, x, multiplier)


def binary(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Functions of two elements: each element's share is its Shapley value in the game of two."""
    a, b, call = two(func, args, kwargs)
    if any(isinstance(t, Tensor) and t.is_complex() for t in (a, b)):
        return uncovered(interception, func, args, kwargs)
    if not depends(b):
        return rescaled(pairs_of(interception), a, lambda t: call(t, b))
    if not depends(a):
        return rescaled(pairs_of(interception), b, lambda t: call(a, t))
    pairs = pairs_of(interception)
    with torch.no_grad():
        y = call(a.detach(), b.detach())
    a, b = pairs.expand(a, y.shape), pairs.expand(b, y.shape)
    a0, b0 = pairs.of(a), pairs.of(b)
    with torch.no_grad():
        x, z = a.detach(), b.detach()
        low, mixed_a, mixed_b = call(a0, b0), call(x, b0), call(a0, z)
        of_a = _quotient(x, a0, (y - mixed_b + mixed_a - low) / 2, lambda t: call(t, z))
        of_b = _quotient(z, b0, (y - mixed_a + mixed_b - low) / 2, lambda t: call(x, t))
    return attach(y, a * of_a + b * of_b)


def division(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Quotients y = a / b: dy = (da - y_bar db) / b_bar, from the shares of the product a = y b.

    This divides by the mean of both divisors. Where the divisors have different signs, their mean
    may be near 0: there a / b counts as a (1 / b), and 1 / b has the quotient -1 / (b b0).
    """
    if kwargs.get("rounding_mode") is not None or len(args) > 2:
        return uncovered(interception, func, args, kwargs)
    a, b, call = two(func, args, kwargs)
    if not depends(b):
        return run_plain(func, args, kwargs)
    pairs = pairs_of(interception)
    with torch.no_grad():
        y = call(a, b.detach())
        z, z0 = b.detach(), pairs.of(b)
        r, r0, middle = 1 / z, 1 / z0, (z + z0) / 2
        # The same sign; for complex divisors, an angle of less than 90 degrees between them.
        alike = (z * z0.conj()).real > 0
        of_a = torch.where(alike, 1 / middle, (r + r0) / 2).nan_to_num_(0, 0, 0)
        x, x0 = (a.detach(), pairs.of(a)) if depends(a) else (a, a)
        of_b = torch.where(alike, (x * r + x0 * r0) / middle, (x + x0) * (r * r0))
        of_b = of_b.mul_(-0.5).nan_to_num_(0, 0, 0)
    surrogate = b * of_b
    return attach(y, a * of_a + surrogate if depends(a) else surrogate)


def rescaled(pairs: Pairs, x: Tensor, call: Function, *, alone: bool = False) -> Tensor:
    """Returns the values of a function of each element, with the multipliers as gradient.

    Args:
        pairs: The pairs of the batch.
        x: The argument of the function.
        call: The function.
        alone: Whether it is the same function for all elements, of a tensor of any shape.
    """
    with torch.no_grad():
        y = call(x.detach())
    x = pairs.expand(x, y.shape)
    count = pairs.example_rows(x) if alone and large(y) else None
    with torch.no_grad():
        if count is None:
            dy = _wide(y) - _wide(pairs.of(y, like=x))
            multiplier = _quotient(x.detach(), pairs.of(x), dy, call, pairs, x)
        else:
            dy = _wide(y[:count]) - _wide(pairs.references_of(y, count))
            multiplier = _quotient_alone(
                x.detach()[:count], pairs.references_of(x, count), dy, call
            )
    return scaled(y, x, multiplier)


def operand(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Function]:
    """Returns an operation's first argument, and the operation as a function of it."""
    if args:
        rest = args[1:]
        return args[0], lambda t: run_plain(func, (t, *rest), kwargs)
    key = "input" if "input" in kwargs else "self"
    return kwargs[key], lambda t: run_plain(func, (), {**kwargs, key: t})


def two(
    func: Func, args: tuple[Any, ...], kwargs: dict[str, Any], second: str = "other"
) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Returns an operation's first two arguments, and the operation as a function of them."""
    kwargs = dict(kwargs)
    given = list(args)
    for name in ("input", second, "exponent"):
        if len(given) < 2 and name in kwargs:
            given.append(kwargs.pop(name))
    a, b, *rest = given
    return a, b, lambda s, t: run_plain(func, (s, t, *rest), kwargs)


def uncovered(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Runs an operation that the rule does not cover: with the plain gradient, reported."""
    result = run_plain(func, args, kwargs)
    interception.report(str(func.__name__).split(".")[0].strip("_"), result, (args, kwargs))
    return result


def pairs_of(interception: Interception) -> Pairs:
    """Returns the pairs of a batch whose rule compares rows."""
    assert interception.pairs is not None, "the rule compares rows"
    return interception.pairs


def _quotient(
    x: Tensor,
    x0: Tensor,
    dy: Tensor,
    call: Function,
    pairs: Pairs | None = None,
    followed: Tensor | None = None,
) -> Tensor:
    """Returns dy / (x - x0), or the mean slope at both ends where that is mostly rounding.

    The difference of two outputs of size 1 has a rounding error of eps: where x and x0 are nearer
    than sqrt(eps), the mean slope is more precise, with an error of second order. If the slopes
    differ, or do not explain the difference, there is a kink or a jump in between, and the quotient
    is right.
    """
    eps = torch.finfo(x.dtype).eps
    dx = _wide(x) - _wide(x0)
    quotient = dy / dx
    near = dx.abs() <= (_wide(x).abs() + 1).mul_(eps**0.5)
    if pairs is not None and followed is not None:
        pairs.forget_references(near, like=followed)
    # On a GPU the test would cost more than the slopes.
    if x.device.type != "cpu" or bool(near.any()):
        slope, size = _slope(x, call)
        slope0 = slope if pairs is None else _slope(x0.expand_as(x), call)[0]
        mean, smooth = _mean_slope(slope, slope0, dx, dy, size, eps)
        quotient = torch.where(near & smooth, mean, quotient)
    return quotient.nan_to_num_(0, 0, 0).to(x.dtype)


def _quotient_alone(x: Tensor, x0: Tensor, dy: Tensor, call: Function) -> Tensor:
    """Returns the same where one function serves all elements, with slopes only where needed."""
    eps = torch.finfo(x.dtype).eps
    dx = _wide(x) - _wide(x0)
    quotient = dy / dx
    # |x - x0| <= (1 + |x|) sqrt(eps), in few passes over memory.
    near = dx.abs().sub_(_wide(x).abs(), alpha=eps**0.5) <= eps**0.5
    on_cpu = x.device.type == "cpu"
    # On a GPU finding these elements would cost more than the slopes of all.
    at = near.nonzero(as_tuple=True) if on_cpu else ...
    old, x0 = quotient[at], x0.expand_as(x)
    slope, size = _slope(x[at], call)
    slope0, _ = _slope(x0[at], call)
    mean, smooth = _mean_slope(slope, slope0, dx[at], dy[at], size, eps)
    quotient[at] = torch.where(smooth if on_cpu else near & smooth, mean, old)
    return quotient.nan_to_num_(0, 0, 0).to(x.dtype)


def _mean_slope(
    slope: Tensor, slope0: Tensor, dx: Tensor, dy: Tensor, size: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Returns the mean slope at both ends, and where it explains the difference up to rounding."""
    mean = (slope + slope0) / 2
    agree = (slope - slope0).abs() <= mean.abs() * eps**0.25
    rest = torch.addcmul(dy, mean, dx, value=-1).abs_()
    return mean, agree & ~(rest > (size + 1) * (_ROUNDING * eps))


def _slope(x: Tensor, call: Function) -> tuple[Tensor, Tensor]:
    """Returns a function's slope, and the size of its values."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = call(leaf)
        (slope,) = torch.autograd.grad(
            y, leaf, torch.ones_like(y), allow_unused=True, materialize_grads=True
        )
    return _wide(slope), _wide(y.detach()).abs()


def _wide(t: Tensor) -> Tensor:
    """Converts half precision to float32, in which its differences are exact."""
    return t.to(torch.promote_types(t.dtype, torch.float32))
