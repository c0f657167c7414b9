"""Relevance of operations with a weight: linear maps, convolutions, products, batch norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine.rules.interception import Func, Handler, Interception, depends
from adcaptum.engine.rules.lrp.affine_maps import AffineMap, Convolution, Linear, Mixing, Scaling
from adcaptum.engine.rules.lrp.affine_rules import Pass
from adcaptum.engine.rules.lrp.composites import Place
from adcaptum.engine.rules.lrp.elementwise import (
    bound,
    by_channel,
    centred,
    shared,
    unknown,
)
from adcaptum.engine.rules.lrp.propagation import Propagation, graphless, propagation_of
from adcaptum.engine.rules.lrp.recurrence import RECURRENCES, NotRecurrent
from adcaptum.engine.rules.operations import words

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

_CONVOLUTIONS: dict[str, type[nn.Module]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}


_RAW = (
    "input",
    "weight",
    "bias",
    "stride",
    "padding",
    "dilation",
    "transposed",
    "output_padding",
    "groups",
)


def linear(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """The linear map x W' + b."""
    propagation = propagation_of(interception)
    propagation.saw_layer()
    x, weight, bias = bound(args, kwargs, ("input", "weight", "bias"))
    if not depends(x) or depends(weight) or depends(bias) or weight.dim() != 2:
        return product(interception, func, args, kwargs)
    layer = Linear(weight.detach(), None if bias is None else bias.detach())
    place = Place("linear", nn.Linear, propagation.owners(weight))
    return propagation.call(layer, place, x, graphless(func, args, kwargs))


def convolution(name: str) -> Handler:
    """Returns the handler of a convolution with its own signature: `conv2d` and its like."""
    transposed = "transpose" in name
    last = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    names = ("input", "weight", "bias", "stride", "padding", *last)

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        given = dict(zip(names, bound(args, kwargs, names), strict=True))
        given["transposed"] = transposed
        return _convolved(interception, given, func, args, kwargs)

    return handler


def raw_convolution(
    interception: Interception, func: Func, args: Arguments, kwargs: Keywords
) -> Any:
    """The operation `torch.convolution`, which takes all options of any convolution."""
    given = dict(zip(_RAW, bound(args, kwargs, _RAW), strict=True))
    return _convolved(interception, given, func, args, kwargs)


def _convolved(
    interception: Interception,
    given: dict[str, Any],
    func: Func,
    args: Arguments,
    kwargs: Keywords,
) -> Any:
    propagation = propagation_of(interception)
    propagation.saw_layer()
    x, weight, bias = given["input"], given["weight"], given["bias"]
    spatial = weight.dim() - 2
    dilation = _each(given["dilation"], 1, spatial)
    if not depends(x) or depends(weight) or depends(bias) or x.dim() != weight.dim():
        return product(interception, func, args, kwargs)
    padding = given["padding"]
    if isinstance(padding, str):
        sides, padding = _sides(padding, weight, dilation), 0
        x = interception.within(functional.pad, x, sides) if any(sides) else x
    layer = Convolution(
        weight.detach(),
        None if bias is None else bias.detach(),
        _each(given["stride"], 1, spatial),
        _each(padding, 0, spatial),
        dilation,
        given["transposed"],
        _each(given.get("output_padding"), 0, spatial),
        1 if given["groups"] is None else given["groups"],
    )
    module = _CONVOLUTIONS[f"conv{'_transpose' if layer.transpose else ''}{spatial}d"]
    place = Place("convolution", module, propagation.owners(weight))
    return propagation.call(layer, place, x, graphless(func, args, kwargs))


def matmul(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Products of matrices: a layer if one of them does not depend on the explained values."""
    propagation = propagation_of(interception)
    if len(args) < 2 or depends(args[0]) == depends(args[1]):
        return product(interception, func, args, kwargs)
    (left, right, *rest), is_left = args, depends(args[0])
    x, weight = (left, right) if is_left else (right, left)
    layer: AffineMap
    if is_left and weight.dim() == 2 and not rest and not kwargs:
        layer = Linear(weight.detach().t(), None)
    else:

        def function(x: Tensor, weight: Tensor) -> Tensor:
            pair = (x, weight) if is_left else (weight, x)
            return func(*pair, *rest, **kwargs)

        layer = Mixing(function, weight.detach())
    place = Place("linear", nn.Linear, propagation.owners(weight))
    return propagation.call(layer, place, x, graphless(func, args, kwargs))


def einsum(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """The operation `einsum`: a layer if one of two tensors does not depend on the input."""
    propagation = propagation_of(interception)
    in_list = len(args) == 2 and isinstance(args[1], list | tuple)
    operands = args[1] if in_list else args[1:]
    if len(operands) != 2 or kwargs or depends(operands[0]) == depends(operands[1]):
        return product(interception, func, args, kwargs)
    first = depends(operands[0])
    x, weight = operands if first else reversed(operands)
    equation = args[0]

    def function(x: Tensor, weight: Tensor) -> Tensor:
        pair = (x, weight) if first else (weight, x)
        return func(equation, pair) if in_list else func(equation, *pair)

    place = Place("linear", nn.Linear, propagation.owners(weight))
    layer = Mixing(function, weight.detach())
    return propagation.call(layer, place, x, graphless(func, args, kwargs))


def product(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Products linear in each of several factors: each gets a part, shared by contributions.

    Achtibat et al. (2024), proposition 3.3, for two factors. In a gate times a signal the signal
    gets all, where the composite says so.
    """
    propagation = propagation_of(interception)
    factors = [t for t in _flat((*args, *kwargs.values())) if depends(t)]
    if propagation.composite.gates == "signal":
        signals = [t for t in factors if not propagation.marks.is_gate(t)]
        if signals and len(signals) < len(factors):
            args = tuple(_without(a, propagation) for a in args)
            kwargs = {key: _without(value, propagation) for key, value in kwargs.items()}
            factors = signals
    return shared(propagation, func, args, kwargs, part=1 / max(len(factors), 1))


def bilinear(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Bilinear maps: a product of two activations and a weight, plus a bias."""
    left, right, weight, bias = bound(args, kwargs, ("input1", "input2", "weight", "bias"))
    if bias is None:
        return product(interception, func, (left, right, weight), {})
    return interception.within(lambda: torch.add(func(left, right, weight, None), bias))


def added_product(multiply: Func) -> Handler:
    """Returns the handler of `addmm` and its like: a product, then a sum."""

    def body(
        summand: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
    ) -> Tensor:
        result = multiply(left, right)
        if alpha != 1:
            result = result * alpha
        return torch.add(result, summand if beta == 1 else summand * beta)

    def handler(
        interception: Interception,
        func: Func,  # noqa: ARG001 - a handler
        args: Arguments,
        kwargs: Keywords,
    ) -> Any:
        kwargs = {key: value for key, value in kwargs.items() if key in {"beta", "alpha"}}
        return interception.within(body, *args, **kwargs)

    return handler


def addcmul(
    interception: Interception,
    func: Func,  # noqa: ARG001 - a handler
    args: Arguments,
    kwargs: Keywords,
) -> Any:
    """The operation `addcmul`: a product of elements, then a sum."""

    def body(summand: Tensor, left: Tensor, right: Tensor, value: float = 1) -> Tensor:
        return torch.add(summand, left * right, alpha=value)

    return interception.within(body, *args, **kwargs)


def recurrent(name: str) -> Handler:
    """Returns the handler of a recurrent layer, which runs it step by step."""
    body = RECURRENCES[name]

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        try:
            return interception.within(body, *args, **kwargs)
        except NotRecurrent:
            return unknown(name)(interception, func, args, kwargs)

    return handler


def batch_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Batch norm in eval mode: merged with the map before it, or an affine map of its own."""
    propagation = propagation_of(interception)
    names = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum")
    x, weight, bias, mean, var, training, _, eps = bound(args[:8], kwargs, (*names, "eps"))
    parameters = (weight, bias, mean, var)
    if training or mean is None or var is None or not depends(x) or any(map(depends, parameters)):
        return unknown("batch_norm")(interception, func, args, kwargs)
    return normalised(propagation, x, parameters, eps, graphless(func, args, kwargs))


def instance_norm(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """Instance norm, by an instance's own statistics or like a batch norm."""
    propagation = propagation_of(interception)
    names = ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats")
    x, weight, bias, mean, var, own, _, eps = bound(args[:8], kwargs, (*names, "momentum", "eps"))
    parameters = (weight, bias, mean, var)
    if not depends(x) or any(map(depends, parameters)):
        return unknown("instance_norm")(interception, func, args, kwargs)
    y = graphless(func, args, kwargs)
    if not own:
        return normalised(propagation, x, parameters, eps, y)
    affine = (by_channel(weight, x), by_channel(bias, x))
    return centred(propagation, x, y, affine, groups=(*x.shape[:2], -1), eps=eps)


def normalised(
    propagation: Propagation,
    x: Tensor,
    parameters: tuple[Tensor | None, Tensor | None, Tensor, Tensor],
    eps: float,
    y: Tensor,
) -> Tensor:
    """Connects a normalisation by running statistics with its input, as an affine map."""
    weight, bias, mean, var = parameters
    with torch.no_grad():
        scale = torch.rsqrt(var + eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    place = Place("batch_norm", nn.modules.batchnorm._BatchNorm, propagation.owners(mean))  # noqa: SLF001 - the class of all
    asked_for = propagation.composite.chosen(place)
    origin = None if asked_for else propagation.origin(x)
    merged = None if origin is None else origin.layer.followed(scale, shift, x.dim())
    if origin is not None and merged is not None:
        return propagation.call(merged, origin.place, origin.x, y, counts=False)
    layer = Scaling(scale, shift, x.dim())
    rule = None
    if not asked_for and propagation.begins(x):
        # Before the first layer it is preprocessing: its output is the input on another scale.
        rule = Pass()
    return propagation.call(layer, place, x, y, counts=False, rule=rule)


def _each(value: Any, default: int, dims: int) -> tuple[int, ...]:
    value = default if value is None else value
    if isinstance(value, int):
        return (value,) * dims
    return tuple(value) * (dims if len(value) == 1 else 1)


def _sides(padding: str, weight: Tensor, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the padding of "same" or "valid" on each side, the last dimension first."""
    sides: tuple[int, ...] = ()
    for step, size in zip(dilation, weight.shape[2:], strict=True):
        both = step * (size - 1) if padding == "same" else 0
        sides = (both // 2, both - both // 2, *sides)
    return sides


def _flat(args: Sequence[Any]) -> list[Any]:
    return [t for a in args for t in (a if isinstance(a, list | tuple) else (a,))]


def _without(value: Any, propagation: Propagation) -> Any:
    """Detaches the gates among the values, so that they get no relevance."""
    if isinstance(value, list | tuple):
        return [_without(v, propagation) for v in value]
    return value.detach() if propagation.marks.is_gate(value) else value


_MULTIPLY: dict[str, Callable[..., Tensor]] = {
    "addmm": torch.mm,
    "baddbmm": torch.bmm,
    "addmv": torch.mv,
    "addr": torch.outer,
    "addbmm": lambda left, right: torch.bmm(left, right).sum(0),
}

_PRODUCTS = words("matmul mm bmm mv dot inner linalg_matmul linalg_vecdot tensordot __matmul__")

LAYERS: dict[str, Handler] = {
    "linear": linear,
    **{name: convolution(name) for name in _CONVOLUTIONS},
    "convolution": raw_convolution,
    **dict.fromkeys(_PRODUCTS, matmul),
    "einsum": einsum,
    "bilinear": bilinear,
    **{name: added_product(multiply) for name, multiply in _MULTIPLY.items()},
    "addcmul": addcmul,
    **{name: recurrent(name) for name in RECURRENCES},
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
}
"""The handlers by operation."""
