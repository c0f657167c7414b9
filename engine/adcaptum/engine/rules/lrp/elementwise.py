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
    """Runs a linear operation that shares its relevance in proportion to contributions.

    Args:
        propagation: The propagation of the batch.
        func: The operation.
        args: Its arguments.
        kwargs: Its named arguments.
        part: Each argument's part, of an operation that is linear in each of several.
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
    """Runs an operation that hands its relevance to some arguments unchanged, in equal parts."""
    y = graphless(func, args, kwargs)
    if not isinstance(y, Tensor) or not y.is_floating_point():
        return y
    return applied(Passed, y, (1 / len(among),) * len(among), *among)


def unknown(name: str) -> Handler:
    """Returns the handler of an operation without a rule: shares to first order, and reports."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        result = shared(propagation_of(interception), func, args, kwargs)
        interception.report(name, result)
        return result

    return handler


def share(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Linear operations, such as means, pools and interpolation."""
    return shared(propagation_of(interception), func, args, kwargs)


def total(sign: int) -> Handler:
    """Returns the handler of sums (sign 1) and differences (-1); 0: never merged with a layer.

    An added constant is a bias. Before the first layer it is preprocessing, and relevance passes
    unchanged.
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
            result = merged
        elif propagation.composite.bias != "keep" or propagation.begins(x):
            result = applied(Passed, y, (1.0,), x)
        else:
            result = shared(propagation, func, args, kwargs)
        if merged is None and marks.is_gate(x):
            marks.set_gate(result)
        if _number((*args, *kwargs.values())) is not None:
            marks.set_shifted(result, x)
        return result

    return handler


def _keeps_sign(bound: float | None, args: Arguments, kwargs: Keywords) -> bool:
    """Returns whether adding a constant to a bounded function, such as tanh, makes a gate.

    1 + tanh(u) is twice a sigmoid of 2u: the constant is no bias, and gets no share.
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
    """Merges an added constant into the layer that computed x; None where that is impossible."""
    origin = None if constant is None or y.shape != x.shape else propagation.origin(x)
    if origin is None or constant is None:
        return None
    layer = origin.layer.shifted(constant)
    if layer is None:
        return None
    return propagation.call(layer, origin.place, origin.x, y, counts=False)


def multiplied(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Products of elements: each factor gets half, or a signal all beside a gate or scale."""
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
    """Quotients: the numerator gets all, if it depends on the explained values.

    Normalisations that are written out thereby pass relevance as in Achtibat et al. (2024),
    proposition 3.4. A constant divided by an activation is a scale.
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
    """Reciprocals (`reciprocal`, `rsqrt`), which are the scales of normalisations."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_scale(result)
    return result


def power(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Powers, which relevance passes unchanged; with a negative exponent they are scales."""
    base, exponent = bound(args[:2], kwargs, ("self", "exponent"))
    result = alone("pow")(interception, func, args, kwargs)
    if depends(base) and isinstance(exponent, int | float):
        marks = propagation_of(interception).marks
        if (exponent < 0) != marks.is_scale(base):
            marks.set_scale(result)
    return result


def bounded(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Functions between -1 and 1: `tanh`, `erf` and their like."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_bound(result, 1)
    return result


# The operations whose result is a scale if their argument is one.
_OF_SCALES = frozenset({"sqrt", "square", "abs", "neg"})


def alone(name: str) -> Handler:
    """Returns the handler of functions of each element; relevance passes to a single argument."""
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
    """Functions that hand their relevance to the first argument."""
    x = next(t for t in (*args, *kwargs.values()) if depends(t))
    return passed(func, args, kwargs, x)


def gate(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Sigmoids, which are gates: relevance passes to the argument."""
    result = passed(func, args, kwargs, *(t for t in (*args, *kwargs.values()) if depends(t)))
    propagation_of(interception).marks.set_gate(result)
    return result


def clipped(low: float | None, high: float | None, low_name: str, high_name: str) -> Handler:
    """Returns the handler of clipping, given the bounds by default and the names of the bounds.

    min(max(u + 3, 0), 6) is a sigmoid in straight pieces, as hard swish has it, and a gate: the
    constant is no bias, and gets no share.
    """
    otherwise = alone("clamp")

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        x, *given = bound(args[:3], kwargs, ("input", low_name, high_name))
        least, most = (a if b is None else b for a, b in zip((low, high), given, strict=True))
        marks = propagation_of(interception).marks
        source = marks.unshifted(x)
        if source is None or isinstance(least, Tensor) or least != 0 or most is None:
            return otherwise(interception, func, args, kwargs)
        result = passed(func, args, kwargs, source)
        marks.set_gate(result)
        return result

    return handler


def softmax(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Softmax: a gate, or expanded to first order, as the composite says."""
    propagation = propagation_of(interception)
    if propagation.composite.gates == "signal":
        return gate(interception, func, args, kwargs)
    (x,) = (t for t in (*args, *kwargs.values()) if depends(t))
    y = graphless(func, args, kwargs)
    dim = kwargs["dim"] if "dim" in kwargs else args[1]
    return applied(Softmax, x, y, (propagation.keep(x), propagation.keep(y)), dim)


def layer_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Layer normalisation, over the last dimensions."""
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    x, shape, weight, bias, eps = bound(args[:5], kwargs, names)
    if not depends(x) or depends(weight) or depends(bias):
        return unknown("layer_norm")(interception, func, args, kwargs)
    y = graphless(func, args, kwargs)
    groups = (*x.shape[: x.dim() - len(shape)], -1)
    return centred(propagation_of(interception), x, y, (weight, bias), groups=groups, eps=eps)


def group_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Group normalisation, over groups of channels and their positions."""
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
    """Connects a normalisation by the input's own statistics with its input, as `Centred`.

    Args:
        propagation: The propagation of the batch.
        x: The values to normalise.
        y: The normalised values, without a graph.
        affine: The weight and the bias, which broadcast to x.
        groups: A shape of x whose last dimension holds the elements of one group.
        eps: The number added to the variance.
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
"""The default of torch's normalisations for the number added to a variance."""


def by_channel(t: Tensor | None, x: Tensor) -> Tensor | None:
    """Returns one number per channel in a shape that broadcasts to x."""
    return None if t is None else t.detach().reshape(-1, *(1,) * (x.dim() - 2))


def bound(args: Arguments, kwargs: Keywords, names: Sequence[str]) -> list[Any]:
    """Returns the arguments of some names, given by position or name; None for missing ones."""
    return [*args, *(kwargs.get(name) for name in names[len(args) :])]
