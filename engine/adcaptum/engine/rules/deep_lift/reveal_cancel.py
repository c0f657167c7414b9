"""DeepLIFT's RevealCancel rule on operations.

Shrikumar, Greenside, Kundaje (2017), https://arxiv.org/abs/1704.02685, sections 3.5.1 and 3.5.3: a
non-linearity treats the positive and the negative contributions to its input apart, so that
contributions that cancel in the sum still count. It applies to functions of one element right
behind a linear or convolution layer, or behind the batch norm that follows it; everywhere else the
rule is Rescale, for which the two parts have the same multiplier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import operand
from adcaptum.engine.rules.deep_lift.products import product
from adcaptum.engine.rules.deep_lift.rescale import CHECKED, HANDLERS, HIDDEN, PLAIN
from adcaptum.engine.rules.deep_lift.steps import MAKERS
from adcaptum.engine.rules.dispatch_table import DispatchTable
from adcaptum.engine.rules.interception import (
    Func,
    Handler,
    Interception,
    any_depends,
    attach,
    depends,
)
from adcaptum.engine.rules.operations import ELEMENTWISE, words
from adcaptum.engine.rules.pairs import Pairs

_AFFINE = words("linear conv1d conv2d conv3d")
_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, slots=True)
class RevealCancel:
    """The RevealCancel rule; it has no parameters."""

    def interception(self, model: object, pairs: Pairs | None) -> Interception:  # noqa: ARG002
        """Makes the interception of one batch."""
        return _Revealing(_REVEAL_CANCEL, pairs)


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """The affine map that computed a tensor.

    Attributes:
        x: Its input.
        version: The version of the input then, by which overwriting shows.
        weight: Its weight, outputs first.
        apply: Applies the map without its bias to an input, with a given weight.
    """

    x: Tensor
    version: int
    weight: Tensor
    apply: Callable[[Tensor, Tensor], Tensor]


class _Revealing(Interception):
    """The interception of one batch; remembers the outputs of affine maps."""

    def __init__(self, table: DispatchTable, pairs: Pairs | None) -> None:
        super().__init__(table, pairs)
        self._origins: dict[int, tuple[ref[Tensor], int, _Origin]] = {}

    def remember(self, result: Tensor, origin: _Origin) -> None:
        self._origins[id(result)] = (ref(result), result._version, origin)  # noqa: SLF001

    def origin(self, t: Tensor) -> _Origin | None:
        """Returns the map that computed a tensor, if input and output have not changed since."""
        tensor, version, origin = self._origins.get(id(t), (None, 0, None))
        if tensor is None or origin is None or tensor() is not t:
            return None
        same = version == t._version and origin.version == origin.x._version  # noqa: SLF001
        return origin if same else None


def _affine(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    result = product(interception, func, args, kwargs)
    given = dict(zip(_NAMES, args, strict=False)) | kwargs
    x, weight = given.pop("input"), given.pop("weight")
    given.pop("bias", None)
    if depends(x) and not depends(weight):
        origin = _Origin(
            x,
            x._version,  # noqa: SLF001
            weight.detach(),
            lambda t, w: func(t, w, None, **given),
        )
        _revealing(interception).remember(result, origin)
    return result


def _batch_norm(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    origin = _revealing(interception).origin(args[0])
    result = HANDLERS["batch_norm"](interception, func, args, kwargs)
    # Arguments: input, weight, bias, mean, variance, training, momentum, eps, cudnn.
    if origin is None or len(args) < 8 or args[5]:
        return result
    scale = torch.rsqrt(args[4] + args[7])
    scale = scale if args[1] is None else scale * args[1].detach()
    weight = origin.weight * scale.view(-1, *(1,) * (origin.weight.dim() - 1))
    merged = _Origin(origin.x, origin.version, weight, origin.apply)
    _revealing(interception).remember(result, merged)
    return result


def _revealed(otherwise: Handler) -> Handler:
    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        z, call = operand(func, args, kwargs)
        origin = _revealing(interception).origin(z) if depends(z) else None
        if origin is None or any_depends(args[1:], {}):
            return otherwise(interception, func, args, kwargs)
        assert interception.pairs is not None, "the rule compares rows"
        return _separated(interception.pairs, z, origin, call)

    return handler


def _separated(
    pairs: Pairs, z: Tensor, origin: _Origin, call: Callable[[Tensor], Tensor]
) -> Tensor:
    """Returns a non-linearity's values, with the multipliers of section 3.5.3 as gradient."""
    with torch.no_grad():
        x0, z0 = pairs.of(origin.x), pairs.of(z)
        sign = torch.sign(origin.x.detach() - x0)
        rising, falling = (1 + sign) / 2, (1 - sign) / 2
    change = origin.x - x0
    up, down = change * rising, change * falling
    positive, negative = origin.weight.clamp(min=0), origin.weight.clamp(max=0)
    plus = origin.apply(up, positive) + origin.apply(down, negative)
    minus = origin.apply(up, negative) + origin.apply(down, positive)
    y = _values(call, z)
    with torch.no_grad():
        y0, with_plus = call(z0), call(z0 + plus)
        with_minus = call(z0 + minus)
        of_plus = _quotient((with_plus - y0 + y - with_minus) / 2, plus, z, call)
        of_minus = _quotient((with_minus - y0 + y - with_plus) / 2, minus, z, call)
    return attach(y, plus * of_plus + minus * of_minus)


def _values(call: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    with torch.no_grad():
        return call(z.detach())


def _quotient(dy: Tensor, dz: Tensor, z: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns the quotient dy / dz; where dz is only rounding, the slope.

    All terms of dz have the same sign, so that the contribution of a wrong quotient is as small as
    dz.
    """
    rounding = 16 * torch.finfo(z.dtype).eps * (1 + z.detach().abs())
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        values = call(leaf)
        (slope,) = torch.autograd.grad(values, leaf, torch.ones_like(values))
    return torch.where(dz.abs() <= rounding, slope, dy / dz).nan_to_num_(0, 0, 0)


def _revealing(interception: Interception) -> _Revealing:
    assert isinstance(interception, _Revealing), "the rule has its own interception"
    return interception


_REVEAL_CANCEL = DispatchTable(
    {
        **HANDLERS,
        **{name: _revealed(HANDLERS[name]) for name in ELEMENTWISE},
        **dict.fromkeys(_AFFINE, _affine),
        "batch_norm": _batch_norm,
    },
    PLAIN,
    HIDDEN,
    makers=MAKERS,
    checked=CHECKED,
)
