"""Differences of normalisations over a row's own elements, complete for each row.

y = c r with c = x - mean(x) and r = 1 / sqrt(v), v = mean(c^2) + eps. With bars for the means of
row and reference, the product has the difference c_bar dr + r_bar dc; the reciprocal root has the
quotient -(r r0)^2 / (r + r0), and the square c + c0. Nothing in it divides by a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.differences import pairs_of
from adcaptum.engine.rules.interception import Interception, attach, depends
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.table import Func, Handler, run_plain

Shaped = Callable[[Tensor], Tensor]


def layer_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Layer normalisation over the last dimensions."""
    given = dict(zip(("input", "normalized_shape", "weight", "bias", "eps"), args, strict=False))
    given |= kwargs
    x, shape = given["input"], given["normalized_shape"]
    weight, bias = given.get("weight"), given.get("bias")
    if depends(weight) or depends(bias):
        return interception.within(_composed, func, x, (shape, None, None), weight, bias, given)
    value = _value(func, args, kwargs)
    dims = tuple(range(-len(shape), 0))
    eps = given.get("eps", 1e-5)
    surrogate = _normalised(pairs_of(interception), x, dims, eps, lambda t: t, centred=True)
    return attach(value, _scaled(surrogate, weight))


def rms_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Normalisation by the root of the mean square, over the last dimensions."""
    given = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | kwargs
    x, shape, weight = given["input"], given["normalized_shape"], given.get("weight")
    if depends(weight):
        return interception.within(_composed, func, x, (shape, None), weight, None, given)
    value = _value(func, args, kwargs)
    eps = given.get("eps")
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    surrogate = _normalised(pairs_of(interception), x, dims, eps, lambda t: t, centred=False)
    return attach(value, _scaled(surrogate, weight))


def group_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Normalisation over groups of channels."""
    given = dict(zip(("input", "num_groups", "weight", "bias", "eps"), args, strict=False)) | kwargs
    x, groups = given["input"], given["num_groups"]
    value = _value(func, args, kwargs)
    surrogate = _by_groups(pairs_of(interception), x, groups, given.get("eps", 1e-5))
    return attach(value, _scaled(surrogate, _of_channels(given.get("weight"), x)))


def instance_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Normalisation of each channel by itself; with running statistics it is an affine map."""
    names = (
        "input",
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "use_input_stats",
        "momentum",
    )
    given = dict(zip((*names, "eps"), args, strict=False)) | kwargs
    if not given.get("use_input_stats", True):
        return run_plain(func, args, kwargs)
    x = given["input"]
    value = _value(func, args, kwargs)
    surrogate = _by_groups(pairs_of(interception), x, x.shape[1], given.get("eps", 1e-5))
    return attach(value, _scaled(surrogate, _of_channels(given.get("weight"), x)))


def _by_groups(pairs: Pairs, x: Tensor, groups: int, eps: float) -> Tensor:
    shape = (len(x), groups, prod(x.shape[1:]) // groups)
    grouped = _normalised(pairs, x, (-1,), eps, lambda t: t.reshape(len(t), *shape[1:]), True)
    return grouped.view(x.shape)


def _normalised(
    pairs: Pairs, x: Tensor, dims: tuple[int, ...], eps: float, shaped: Shaped, centred: bool
) -> Tensor:
    """A linear map of x whose coefficients are the multipliers of its normalisation."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with torch.no_grad():
        c = _centred(shaped(x.detach().to(wide)), dims, centred)
        c0 = _centred(shaped(pairs.of(x).to(wide)), dims, centred)
        r = c.square().mean(dims, keepdim=True).add_(eps).rsqrt_()
        r0 = c0.square().mean(dims, keepdim=True).add_(eps).rsqrt_()
        quotient = -(r * r0).square() / (r + r0)
        middle, r_middle = (c + c0) / 2, (r + r0) / 2
    change = _centred(shaped(x.to(wide)), dims, centred)
    of_variance = (change * (2 * middle)).mean(dims, keepdim=True)
    return change * r_middle + of_variance * quotient * middle


def _centred(x: Tensor, dims: tuple[int, ...], centred: bool) -> Tensor:
    return x - x.mean(dims, keepdim=True) if centred else x


def _value(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return run_plain(func, args, kwargs)


def _scaled(surrogate: Tensor, weight: Tensor | None) -> Tensor:
    return surrogate if weight is None else surrogate * weight.detach()


def _of_channels(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.detach().view(-1, *(1,) * (x.dim() - 2))


def _composed(
    func: Func,
    x: Tensor,
    before: tuple[Any, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    given: dict[str, Any],
) -> Tensor:
    """The normalisation, then a scale or shift that depends on what is explained."""
    eps = {"eps": given["eps"]} if given.get("eps") is not None else {}
    normalised = func(x, *before, **eps)
    scaled = normalised if weight is None else normalised * weight
    return scaled if bias is None else scaled + bias


NORMS: dict[str, Handler] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
}
"""The handlers by operation."""
