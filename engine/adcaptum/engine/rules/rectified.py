"""Guided backpropagation and deconvolution: no negative gradient passes a ReLU.

Springenberg et al. (2014), https://arxiv.org/abs/1412.6806: the gradient passes where it is
positive and the ReLU's input was. Zeiler, Fergus (2014), https://arxiv.org/abs/1311.2901: where it
is positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.dispatch_table import DispatchTable
from adcaptum.engine.rules.interception import Func, Interception
from adcaptum.engine.rules.operations import (
    BILINEAR,
    BINARY,
    ELEMENTWISE,
    INDEXING,
    LEAVING,
    LINEAR,
    MOVEMENT,
    QUADRATIC,
    words,
)
from adcaptum.engine.rules.pairs import Pairs
from adcaptum.engine.rules.rectifiers import HANDLERS, MAKERS, Rectification


@dataclass(frozen=True, slots=True)
class Guided:
    """Guided backpropagation's rule; it has no parameters."""

    def interception(self, model: object, pairs: Pairs | None) -> Interception:  # noqa: ARG002
        """Makes the interception of one batch."""
        return Rectification(_TABLE, _guided)


@dataclass(frozen=True, slots=True)
class Deconvolved:
    """Deconvolution's rule; it has no parameters."""

    def interception(self, model: object, pairs: Pairs | None) -> Interception:  # noqa: ARG002
        """Makes the interception of one batch."""
        return Rectification(_TABLE, _deconvolved)


class _PositiveWhereActive(torch.autograd.Function):
    """ReLU's values; the positive part of the gradient where they are positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0].clamp(min=0), y, 0)


class _Positive(torch.autograd.Function):
    """ReLU's values; the positive part of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return gradients[0].clamp(min=0)


def _guided(x: Tensor) -> Tensor:
    return _PositiveWhereActive.apply(x)  # type: ignore[no-untyped-call]


def _deconvolved(x: Tensor) -> Tensor:
    return _Positive.apply(x)  # type: ignore[no-untyped-call]


def _relu(
    interception: Interception,
    func: Func,  # noqa: ARG001 - a handler
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    assert isinstance(interception, Rectification), "the rule has its own interception"
    return interception.relu(args[0] if args else kwargs["input"])


# Operations that are no rectifiers; both papers keep their plain gradient, pooling by its switches.
_PLAIN = words("""
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    amax amin softmax log_softmax logsumexp layer_norm rms_norm group_norm instance_norm
    batch_norm dropout feature_dropout alpha_dropout where masked_fill
    scaled_dot_product_attention linalg_vector_norm cosine_similarity std std_mean var_mean
""")
# A gradient takes a detached value for a constant.
_CONSTANT = LEAVING | words("detach data")
_TABLE = DispatchTable(
    {**HANDLERS, "relu": _relu},
    LINEAR | MOVEMENT | BILINEAR | QUADRATIC | (BINARY - HANDLERS.keys()) | _PLAIN,
    ELEMENTWISE,
    makers=MAKERS,
    constant=_CONSTANT,
    # Indices are switches, like those of pooling.
    checked=INDEXING,
)
