"""Differences of softmax, log-softmax and log-sum-exp, complete for each row.

The logarithm L of the sum of exponentials is a chain of exp, sum and log, each with its difference
quotient; written out, element i has the multiplier

    w_i = exp(max(x_i, x0_i) - max(L, L0)) phi(|x_i - x0_i|) / phi(|L - L0|),
    phi(t) = (1 - exp(-t)) / t,

so that sum_i w_i (x_i - x0_i) = L - L0. Where the rows are equal, w is the softmax; adding a number
to all elements does not change w. log_softmax is x - L, and softmax its exponential, whose quotient
is exp(max(z, z0)) phi(|z - z0|). No term overflows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import pairs_of
from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, attach, completed
from adcaptum.engine.rules.pairs import Pairs


def softmax(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Softmax over one dimension."""
    x, dim, _ = _given(args, kwargs)
    value = run_plain(func, *_without_graph(args, kwargs))
    pairs = pairs_of(interception)
    with torch.no_grad():
        count = pairs.example_rows(x)
        wide = _wide(x)
        p = value if value.dtype == wide.dtype else torch.softmax(wide, dim)
        p, p0 = p[:count], pairs.references_of(p, count, like=x)
        x0 = pairs.references_of(wide, count, like=x)
        weights, change = _weights(wide[:count], x0, p, p0, dim)
        scale = torch.maximum(p, p0).mul_(_phi(change)).nan_to_num_(0, 0, 0)
    return _Shifted.apply(x, [value], weights, scale, dim)  # type: ignore[no-untyped-call]


def log_softmax(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Log-softmax over one dimension."""
    x, dim, _ = _given(args, kwargs)
    value = run_plain(func, *_without_graph(args, kwargs))
    with torch.no_grad():
        weights = _weights_from(x, pairs_of(interception), dim)
    return _Shifted.apply(x, [value], weights, None, dim)  # type: ignore[no-untyped-call]


def logsumexp(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """The logarithm of the sum of exponentials."""
    x, dim, keepdim = _given(args, kwargs)
    value = run_plain(func, *_without_graph(args, kwargs))
    with torch.no_grad():
        weights = _weights_from(x, pairs_of(interception), dim)
    return attach(value, (x * weights).sum(dim, keepdim=keepdim))


class _Shifted(torch.autograd.Function):
    """The function x - sum(w x), scaled: its gradient has the multipliers of (log-)softmax."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, value: list[Tensor], weights: Tensor, scale: Tensor | None, dim: int
    ) -> Tensor:
        ctx.save_for_backward(weights, scale)
        ctx.dim, ctx.dtype = dim, x.dtype
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, scale = ctx.saved_tensors
        gradient = gradients[0][: len(weights)]
        gradient = gradient if scale is None else gradient * scale
        total = gradient.sum(ctx.dim, keepdim=True)
        change = torch.addcmul(gradient, weights, total.to(weights.dtype), value=-1)
        return completed(change.to(ctx.dtype), len(gradients[0])), None, None, None, None


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Any, bool]:
    """Reads the arguments: tensor, dimensions and, of log-sum-exp, the flag to keep them."""
    given = dict(zip(("input", "dim", "keepdim"), args, strict=False)) | kwargs
    x: Tensor = given["input"] if "input" in given else given["self"]
    return x, given["dim"], given.get("keepdim") is True


def _weights_from(x: Tensor, pairs: Pairs, dim: Any) -> Tensor:
    """Returns the multipliers of L, of all rows."""
    wide = _wide(x)
    x0 = pairs.of(wide, like=x)
    p, p0 = (t.sub(torch.logsumexp(t, dim, keepdim=True)).exp_() for t in (wide, x0))
    return _weights(wide, x0, p, p0, dim)[0]


def _weights(x: Tensor, x0: Tensor, p: Tensor, p0: Tensor, dim: Any) -> tuple[Tensor, Tensor]:
    """Returns the multipliers of L, and the differences of x - L.

    Args:
        x: The rows.
        x0: Their references.
        p: Softmax of x. It saves computing the exponentials anew, which cost most, and many times
            as much where they are close to 0, as for masked elements.
        p0: Softmax of x0.
        dim: The dimensions of the sum.
    """
    total, total0 = (
        t.amax(dim, keepdim=True) - q.amax(dim, keepdim=True).log_() for t, q in ((x, p), (x0, p0))
    )
    largest = torch.maximum(total, total0)
    weights = p * (total - largest).exp_()
    weights = torch.maximum(weights, p0 * (total0 - largest).exp_(), out=weights)
    change, change_of_sum = x - x0, total - total0
    weights.mul_(_phi(change)).div_(_phi(change_of_sum))
    # Where both are minus infinity (masked), the difference is zero.
    return weights.nan_to_num_(0, 0, 0), change.sub_(change_of_sum)


def _phi(t: Tensor) -> Tensor:
    """Returns phi(|t|)."""
    negative = t.abs().neg_()
    return torch.expm1(negative).div_(negative).nan_to_num_(1)


def _wide(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32))


def _without_graph(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def cut(value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) else value

    return tuple(map(cut, args)), {key: cut(value) for key, value in kwargs.items()}


SOFTMAXES: dict[str, Handler] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
}
"""The handlers by operation."""
