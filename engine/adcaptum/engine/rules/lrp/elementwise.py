"""Relevance of operations without a weight: sums, products of elements, norms, activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, depends
from adcaptum.engine.rules.lrp.autograd_functions import (
    Centred,
    Enter,
    Leave,
    Passed,
    Softmax,
    applied,
)
from adcaptum.engine.rules.lrp.propagation import Propagation, graphless, propagation_of

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def shared(
    propagation: Propagation,
    func: Func,
    args: Arguments,
    kwargs: Keywords,
    part: float = 1,
) -> Any:
    """A linear operation gives relevance to its arguments in proportion to what they contribute.

    Args:
        propagation: Under which it is.
        func: The operation.
        args: Its arguments.
        kwargs: Its named arguments.
        part: How much of it each argument gets, of an operation that is linear in each of several.
    """

    def entered(value: Any) -> Any:
        if depends(value):
            return applied(Enter, value, propagation.keep(value), part)
        if isinstance(value, list | tuple) and any(map(depends, value)):
            return [entered(v) for v in value]
        return value

    def left(value: Any) -> Any:
        if depends(value) and value.is_floating_point():
            return applied(Leave, value, propagation.keep(value), propagation.composite.epsilon)
        if isinstance(value, list | tuple):
            return type(value)(map(left, value)) if type(value) in {list, tuple} else value
        return value

    args = tuple(map(entered, args))
    kwargs = {key: entered(value) for key, value in kwargs.items()}
    return left(run_plain(func, args, kwargs))


def passed(func: Func, args: Arguments, kwargs: Keywords, *among: Tensor) -> Any:
    """An operation that hands its relevance to arguments as it is, in equal parts."""
    y = graphless(func, args, kwargs)
    if not isinstance(y, Tensor) or not y.is_floating_point():
        return y
    return applied(Passed, y, (1 / len(among),) * len(among), *among)


def unknown(name: str) -> Handler:
    """An operation without a rule: shared to first order, and reported."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        result = shared(propagation_of(interception), func, args, kwargs)
        interception.report(name, result)
        return result

    return handler


def share(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Linear operations: means, pools, interpolation."""
    return shared(propagation_of(interception), func, args, kwargs)


def total(sign: int) -> Handler:
    """Sums (sign 1) and differences (-1) of two; 0: that may not be merged with a layer.

    A constant is a bias; before the first layer it is preprocessing, and hands relevance on.
    """

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        propagation = propagation_of(interception)
        among = [t for t in (*args, *kwargs.values()) if depends(t)]
        if len(among) != 1:
            return shared(propagation, func, args, kwargs)
        (x,) = among
        y = graphless(func, args, kwargs)
        marks = propagation.marks
        if _keeps_sign(marks.bound(x), args, kwargs):
            result = applied(Passed, y, (1.0,), x)
            marks.set_gate(result)
            return result
        merged = _with_bias(propagation, x, y, _constant(sign, x, args, kwargs))
        if merged is not None:
            return merged
        if propagation.composite.bias != "keep" or propagation.begins(x):
            result = applied(Passed, y, (1.0,), x)
        else:
            result = shared(propagation, func, args, kwargs)
        if marks.is_gate(x):
            marks.set_gate(result)
        return result

    return handler


def _keeps_sign(bound: float | None, args: Arguments, kwargs: Keywords) -> bool:
    """Tells if a constant is added to a tanh, or to a function like it, so that a gate results.

    1 + tanh(u) is twice a sigmoid of 2u: the constant is no bias, and has no share.
    """
    if bound is None:
        return False
    numbers = [abs(a) for a in (*args, kwargs.get("other")) if isinstance(a, int | float)]
    return len(numbers) == 1 and "alpha" not in kwargs and numbers[0] >= bound


def _constant(sign: int, x: Tensor, args: Arguments, kwargs: Keywords) -> Tensor | None:
    """Returns the tensor added to x; None if x itself was scaled, or no tensor was added."""
    left, right = bound(args[:2], kwargs, ("input", "other"))
    alpha = kwargs.get("alpha", 1)
    if sign and left is x and isinstance(right, Tensor):
        return right.detach() * (sign * alpha)
    if right is x and isinstance(left, Tensor) and sign * alpha == 1:
        return left.detach()
    return None


def _with_bias(
    propagation: Propagation, x: Tensor, y: Tensor, constant: Tensor | None
) -> Tensor | None:
    """The layer that gave x, with a constant for bias; None if that is no such layer."""
    origin = None if constant is None or y.shape != x.shape else propagation.origin(x)
    if origin is None or constant is None:
        return None
    layer = origin.layer.shifted(constant)
    if layer is None:
        return None
    return propagation.call(layer, origin.place, origin.x, y, counts=False)


def multiplied(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Products of elements: half for each factor, or all for what the other weighs or scales."""
    propagation = propagation_of(interception)
    marks = propagation.marks
    factors = [t for t in (*args, *kwargs.values()) if depends(t)]
    if len(factors) == 1:
        result = passed(func, args, kwargs, *factors)
        marks.hand_on(factors[0], result, _number((*args, *kwargs.values())))
        return result
    signals = [t for t in factors if not marks.is_scale(t)]
    if len(signals) == 1:
        result = passed(func, args, kwargs, *signals)
        marks.hand_on(signals[0], result, None)
        return result
    if propagation.composite.gates == "signal":
        signals = [t for t in factors if not marks.is_gate(t)]
    if len(signals) == 1:
        return passed(func, args, kwargs, *signals)
    result = passed(func, args, kwargs, *factors)
    if all(map(marks.is_scale, factors)):
        marks.set_scale(result)
    return result


def _number(values: Arguments) -> float | None:
    return next((float(v) for v in values if isinstance(v, int | float)), None)


def divided(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Quotients: all for the numerator, if it depends on what is explained.

    So that normalisations that are written out pass relevance as Achtibat et al. (2024),
    proposition 3.4, have it. A constant by an activation is a scale.
    """
    marks = propagation_of(interception).marks
    numerator, *_ = (*args, *kwargs.values())
    (x, *_) = (t for t in (*args, *kwargs.values()) if depends(t))
    result = passed(func, args, kwargs, x)
    if not depends(numerator):
        marks.set_scale(result)
    else:
        divisor = _number((*args, *kwargs.values()))
        marks.hand_on(x, result, 1 / divisor if divisor else None)
    return result


def reciprocal(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """`reciprocal`, `rsqrt`: what a normalisation multiplies by."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_scale(result)
    return result


def power(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Powers: relevance passes them; with a negative exponent they are scales."""
    base, exponent = bound(args[:2], kwargs, ("self", "exponent"))
    result = alone("pow")(interception, func, args, kwargs)
    if depends(base) and isinstance(exponent, int | float):
        marks = propagation_of(interception).marks
        if (exponent < 0) != marks.is_scale(base):
            marks.set_scale(result)
    return result


def bounded(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """`tanh`, `erf` and their like: functions between -1 and 1."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_bound(result, 1)
    return result


# Of a scale they are one.
_OF_SCALES = frozenset({"sqrt", "square", "abs", "neg"})


def alone(name: str) -> Handler:
    """Functions of each element: relevance passes them, if one argument has any."""
    missing = unknown(name)

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        among = [t for t in (*args, *kwargs.values()) if depends(t)]
        if len(among) != 1:
            return missing(interception, func, args, kwargs)
        result = passed(func, args, kwargs, *among)
        marks = propagation_of(interception).marks
        if name in _OF_SCALES and marks.is_scale(among[0]):
            marks.set_scale(result)
        return result

    return handler


def passing(
    interception: Interception,  # noqa: ARG001 - a handler
    func: Func,
    args: Arguments,
    kwargs: Keywords,
) -> Any:
    """Functions that hand relevance on to their first argument."""
    x = next(t for t in (*args, *kwargs.values()) if depends(t))
    return passed(func, args, kwargs, x)


def gate(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Sigmoids: functions of each element that are made to weigh others."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_gate(result)
    return result


def softmax(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Passed, and marked as a gate; or expanded, where the composite has it so."""
    propagation = propagation_of(interception)
    if propagation.composite.gates == "signal":
        return gate(interception, func, args, kwargs)
    (x,) = (t for t in (*args, *kwargs.values()) if depends(t))
    y = graphless(func, args, kwargs)
    dim = kwargs["dim"] if "dim" in kwargs else args[1]
    return applied(Softmax, x, y, (propagation.keep(x), propagation.keep(y)), dim)


def layer_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Over the last dimensions."""
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    x, shape, weight, bias, eps = bound(args[:5], kwargs, names)
    if not depends(x) or depends(weight) or depends(bias):
        return unknown("layer_norm")(interception, func, args, kwargs)
    y = graphless(func, args, kwargs)
    groups = (*x.shape[: x.dim() - len(shape)], -1)
    return centred(propagation_of(interception), x, y, (weight, bias), groups=groups, eps=eps)


def group_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Over groups of channels and their places."""
    x, count, weight, bias, eps = bound(
        args[:5], kwargs, ("input", "num_groups", "weight", "bias", "eps")
    )
    if not depends(x) or depends(weight) or depends(bias):
        return unknown("group_norm")(interception, func, args, kwargs)
    y = graphless(func, args, kwargs)
    affine = tuple(by_channel(t, x) for t in (weight, bias))
    return centred(propagation_of(interception), x, y, affine, groups=(len(x), count, -1), eps=eps)


def centred(
    propagation: Propagation,
    x: Tensor,
    y: Tensor,
    affine: tuple[Tensor | None, ...],
    *,
    groups: tuple[int, ...],
    eps: float | None,
) -> Tensor:
    """Y has been made of x, by its own statistics and then a weight and a bias that broadcast.

    Args:
        propagation: Under which it is.
        x: What is normalised.
        y: What it was made, without a graph.
        affine: The weight and the bias.
        groups: A shape of x: what its last dimension has in common is normalised together.
        eps: Added to the variance.
    """
    weight, bias = affine
    with torch.no_grad():
        variance = x.reshape(groups).var(-1, correction=0, keepdim=True)
        deviation = torch.rsqrt(variance + (_EPS if eps is None else eps))
        fate = propagation.composite.bias
        z = y - bias if bias is not None and fate == "ignore" else y
        spread = bias.detach() if bias is not None and fate == "spread" else None
    result: Tensor = applied(
        Centred,
        x,
        y,
        (propagation.keep(x), propagation.keep(z)),
        (None if weight is None else weight.detach(), deviation, spread),
        propagation.composite.epsilon,
    )
    return result


_EPS = 1e-5
"""What torch's normalisations add to a variance by default."""


def by_channel(t: Tensor | None, x: Tensor) -> Tensor | None:
    """One number per channel, to broadcast to x."""
    return None if t is None else t.detach().reshape(-1, *(1,) * (x.dim() - 2))


def bound(args: Arguments, kwargs: Keywords, names: Sequence[str]) -> list[Any]:
    """Arguments by position or name; None where they are not given."""
    return [*args, *(kwargs.get(name) for name in names[len(args) :])]
