"""Differences of normalisations over a row's own elements, complete for each row.

y = c / s with c = x - mean(x) and s^2 = mean(c^2) + eps. With bars for the means of row and
reference, the differences of c = y s are dc = s_bar dy + y_bar ds, so that

    dy = (dc - y_bar ds) / s_bar,    ds = d(s^2) / (2 s_bar),    d(s^2) = mean(2 c_bar dc).

No term divides by a difference, and none grows where the reference has no variance, such as a
baseline of zeros: there the product with 1 / s would give large shares that cancel.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import pairs_of
from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, completed, depends
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.row_places import RowsLost


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
    return _normalised(
        pairs_of(interception),
        x,
        value,
        tuple(range(-len(shape), 0)),
        shape=x.shape,
        eps=given.get("eps", 1e-5),
        weight=weight,
        centred=True,
    )


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
    return _normalised(
        pairs_of(interception),
        x,
        value,
        tuple(range(-len(shape), 0)),
        shape=x.shape,
        eps=torch.finfo(x.dtype).eps if eps is None else eps,
        weight=weight,
        centred=False,
    )


def group_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Normalisation over groups of channels."""
    given = dict(zip(("input", "num_groups", "weight", "bias", "eps"), args, strict=False)) | kwargs
    x, groups = given["input"], given["num_groups"]
    value = _value(func, args, kwargs)
    weight = _of_channels(given.get("weight"), x)
    eps = given.get("eps", 1e-5)
    return _by_groups(pairs_of(interception), x, value, groups, eps=eps, weight=weight)


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
    weight = _of_channels(given.get("weight"), x)
    eps = given.get("eps", 1e-5)
    return _by_groups(pairs_of(interception), x, value, x.shape[1], eps=eps, weight=weight)


def _by_groups(pairs: Pairs, x: Tensor, value: Tensor, groups: int, **rest: Any) -> Tensor:
    if pairs.stride(x) * len(x) != x.numel():
        raise RowsLost
    shape = (len(x), groups, prod(x.shape[1:]) // groups)
    return _normalised(pairs, x, value, (-1,), shape=torch.Size(shape), centred=True, **rest)


def _normalised(
    pairs: Pairs,
    x: Tensor,
    value: Tensor,
    dims: tuple[int, ...],
    *,
    shape: torch.Size,
    eps: float,
    weight: Tensor | None,
    centred: bool,
) -> Tensor:
    """Returns the value with the multipliers of a normalisation over a shape's last dimensions."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with torch.no_grad():
        c = x.detach().to(wide).reshape(shape)
        if centred:
            c = c - c.mean(dims, keepdim=True)
        s = c.square().mean(dims, keepdim=True).add_(eps).sqrt_()
        count = pairs.example_rows(x)
        like = x if shape == x.shape else None
        c0 = pairs.references_of(c, count, like)
        s0 = c0.square().mean(dims, keepdim=True).add_(eps).sqrt_()
        c, s = c[:count], s[:count]
        middle = torch.lerp(c, c0, 0.5)
        y_middle = torch.addcmul(c * (0.5 / s), c0, 0.5 / s0)
        inverse = 2 / (s + s0)
        of_square = inverse.square().mul_(-1 / prod(shape[d] for d in dims))
    weight = None if weight is None else weight.detach()
    saved = (middle, y_middle, inverse, of_square, weight)
    return _Normalised.apply(x, [value], saved, dims, centred)  # type: ignore[no-untyped-call]


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        value: list[Tensor],
        saved: tuple[Tensor | None, ...],
        dims: tuple[int, ...],
        centred: bool,
    ) -> Tensor:
        ctx.save_for_backward(*saved)
        ctx.dims, ctx.centred, ctx.dtype = dims, centred, x.dtype
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        middle, y_middle, inverse, of_square, weight = ctx.saved_tensors
        gradient = gradients[0][: len(middle)]
        gradient = gradient if weight is None else gradient * weight
        own, gradient = gradient.shape, gradient.to(middle.dtype).reshape(middle.shape)
        of_root = (gradient * y_middle).sum(ctx.dims, keepdim=True).mul_(of_square)
        change = torch.mul(gradient, inverse).addcmul_(of_root, middle)
        if ctx.centred:
            change.sub_(change.mean(ctx.dims, keepdim=True))
        change = change.to(ctx.dtype).reshape(own)
        return completed(change, len(gradients[0])), None, None, None, None


def _value(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return run_plain(func, args, kwargs)


def _of_channels(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.view(-1, *(1,) * (x.dim() - 2))


def _composed(
    func: Func,
    x: Tensor,
    before: tuple[Any, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    given: dict[str, Any],
) -> Tensor:
    """Normalises, then applies a scale and shift that depend on the explained values."""
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
