"""Differences of maxima: pooling and reductions by the largest element, or the smallest.

The rule attributes the output's difference to one element of the window: where the row's output is
at least the reference's, to the row's largest element, else to the reference's. That element has
changed at least as much, so that the multiplier is between 0 and 1, and overlapping windows add up.
The `shap` package and Captum have the same rule, but lose contributions where windows overlap or
rows tie.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import binary, pairs_of, uncovered
from adcaptum.engine.rules.interception import Func, Handler, Interception, attach, depends
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.row_places import RowsLost

_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_ADAPTIVE = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
_NAMES = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")


def max_pool(dims: int, *, with_indices: bool = False) -> Handler:
    """Returns the handler of max pooling over the last `dims` dimensions, in all forms."""

    def handler(
        interception: Interception,
        func: Func,  # noqa: ARG001 - one form of torch's is enough
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        given = dict(zip(("input", *_NAMES), args, strict=False)) | kwargs
        x: Tensor = given.pop("input")
        both = bool(given.pop("return_indices", False)) or with_indices
        given["stride"] = given.get("stride") or None
        value, at = _POOLS[dims](x.detach(), **given, return_indices=True)
        result = _picked(pairs_of(interception), x, value, at, dims)
        return (result, at) if both else result

    return handler


def adaptive_max_pool(dims: int, *, with_indices: bool = False) -> Handler:
    """Returns the handler of adaptive max pooling over the last `dims` dimensions."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = dict(zip(("input", "output_size", "return_indices"), args, strict=False)) | kwargs
        x: Tensor = given["input"]
        # torch.adaptive_max_pool1d gives the indices, too; F.adaptive_max_pool1d is asked to.
        both = with_indices or bool(given.get("return_indices", False)) or _gives_both(func)
        value, at = _ADAPTIVE[dims](x.detach(), given["output_size"], return_indices=True)
        result = _picked(pairs_of(interception), x, value, at, dims)
        return (result, at) if both else result

    return handler


def largest(name: str) -> Handler:
    """Maxima and minima over dimensions, or of two tensors: `max`, `min`, `amax`, `amin`."""
    sign = -1 if name.endswith("min") else 1

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = dict(zip(("input", "dim", "keepdim"), args, strict=False)) | kwargs
        if depends(given.get("dim")) or "other" in given or isinstance(given.get("dim"), Tensor):
            return binary(interception, func, args, kwargs)
        x: Tensor = given["input"]
        dims = _dims(given.get("dim"), x)
        if dims is None or 0 in dims:
            return uncovered(interception, func, args, kwargs)
        keepdim = bool(given.get("keepdim", False))
        if not pairs_of(interception).leads(x):
            raise RowsLost
        # The dimensions come last, as one, so that the rest is pooling with one window.
        last = range(x.dim() - len(dims), x.dim())
        moved = x.movedim(dims, tuple(last)).flatten(-len(dims))
        value, at = (moved.detach() * sign).max(-1)
        result = _picked(pairs_of(interception), moved, value * sign, at, 1, sign)
        if keepdim:
            for d in sorted(dims):
                result, at = result.unsqueeze(d), at.unsqueeze(d)
        if name in {"amax", "amin"}:
            return result
        kind = torch.return_types.max if name == "max" else torch.return_types.min
        return kind((result, at))

    return handler


def _picked(pairs: Pairs, x: Tensor, value: Tensor, at: Tensor, dims: int, sign: int = 1) -> Tensor:
    """Returns the values, each with the gradient of the one element that it is attributed to."""
    if not pairs.leads(x):
        raise RowsLost
    with torch.no_grad():
        value0 = pairs.of(value)
        at = torch.where(value * sign >= value0 * sign, at, pairs.of(at))
        shape = at.shape
        pooled = at.dim() == x.dim()
        at = at.flatten(-dims) if pooled else at.unsqueeze(-1)
        flat, flat0 = x.detach().flatten(-dims), pairs.of(x).flatten(-dims)
        change = flat.gather(-1, at) - flat0.expand_as(flat).gather(-1, at)
        quotient = (value - value0).view(at.shape) / change
        multiplier = torch.where(change == 0, 1, quotient).nan_to_num_(0, 0, 0)
    surrogate = x.flatten(-dims).gather(-1, at).view(shape) * multiplier.view(shape)
    return attach(value, surrogate)


def _gives_both(func: Func) -> bool:
    return not hasattr(func, "__code__") and not hasattr(func, "_schema")


def _dims(dim: Any, x: Tensor) -> tuple[int, ...] | None:
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return None
    dims = dim if isinstance(dim, list | tuple) else (dim,)
    return tuple(sorted(d % x.dim() for d in dims))


MAXIMA: dict[str, Handler] = {
    **{f"max_pool{d}d": max_pool(d) for d in _POOLS},
    **{f"max_pool{d}d_with_indices": max_pool(d, with_indices=True) for d in _POOLS},
    **{f"adaptive_max_pool{d}d": adaptive_max_pool(d) for d in _ADAPTIVE},
    **{
        f"adaptive_max_pool{d}d_with_indices": adaptive_max_pool(d, with_indices=True)
        for d in _ADAPTIVE
    },
    **{name: largest(name) for name in ("max", "min", "amax", "amin")},
}
"""The handlers by operation."""
