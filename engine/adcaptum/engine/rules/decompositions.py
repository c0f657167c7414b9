"""Fused operations, written out as the operations that they consist of.

These run with the interception on: each operation in them is answered by the rule. They give what
the fused kernels give, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - torch's signature
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention: softmax(query key' scale + mask) value.

    The weights are not dropped out, whatever `dropout_p` says: models are explained in eval mode.
    """
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    factor = 1 / sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * factor, key.transpose(-2, -1))
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(allowed.logical_not(), float("-inf"))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(attn_mask.logical_not(), float("-inf"))
        else:
            scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


def glu(input: Tensor, dim: int = -1) -> Tensor:  # noqa: A002 - torch's name
    """Gated linear unit: one half times the sigmoid of the other."""
    left, right = input.chunk(2, dim)
    return left * torch.sigmoid(right)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:  # noqa: A002
    """Sum of a tensor and a scaled quotient of two."""
    return input + value * (tensor1 / tensor2)


def std(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
    """The standard deviation, in all the forms of its arguments."""
    return torch.sqrt(torch.var(input, *args, **kwargs))


def var_mean(input: Tensor, dim: Any = None, **kwargs: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
    """Variance and mean."""
    keepdim = kwargs.get("keepdim", False)
    return torch.var(input, dim, **kwargs), torch.mean(input, dim, keepdim=keepdim)


def std_mean(input: Tensor, dim: Any = None, **kwargs: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
    """Standard deviation and mean."""
    var, mean = var_mean(input, dim, **kwargs)
    return torch.sqrt(var), mean


def vector_norm(
    x: Tensor,
    ord: float = 2,  # noqa: A002 - torch's name
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The p-norm of vectors."""
    x = x if dtype is None else x.to(dtype)
    x = torch.abs(x) if x.is_complex() else x
    dims = tuple(range(x.dim())) if dim is None else dim
    if ord == 2:
        return torch.sqrt(torch.square(x).sum(dims, keepdim))
    if ord == 1:
        return torch.abs(x).sum(dims, keepdim)
    if ord == float("inf"):
        return torch.amax(torch.abs(x), dims, keepdim)
    return torch.pow(torch.pow(torch.abs(x), ord).sum(dims, keepdim), 1 / ord)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors."""
    norms = [torch.clamp(vector_norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2)]
    return ((x1 / norms[0]) * (x2 / norms[1])).sum(dim)


def polar(abs: Tensor, angle: Tensor) -> Tensor:  # noqa: A002 - torch's name
    """The complex number of a modulus and an angle."""
    return torch.complex(abs * torch.cos(angle), abs * torch.sin(angle))


DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "addcdiv": addcdiv,
    "cosine_similarity": cosine_similarity,
    "glu": glu,
    "linalg_vector_norm": vector_norm,
    "polar": polar,
    "scaled_dot_product_attention": attention,
    "std": std,
    "std_mean": std_mean,
    "var_mean": var_mean,
}
"""The body of each fused operation."""
