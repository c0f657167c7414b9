"""ReLUs in disguise: products, choices and bounds that compute max(x, 0), or min(x, 0).

Each mask is remembered with the tensor that it is the sign of. `x * (x > 0)`, `where(x > 0, x, 0)`,
`x.masked_fill(x < 0, 0)` and `x[x < 0] = 0` are then ReLUs, as are `maximum(x, 0)`,
`clamp(x, min=0)` and `threshold(x, 0, 0)`. The other sign gives min(x, 0) = -max(-x, 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, Table, depends
from adcaptum.engine.rules.operations import name_of
from adcaptum.engine.rules.proxies import severed

Relu = Callable[[Tensor], Tensor]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """A mask of the places where some values are positive, or where they are not.

    Attributes:
        values: The mark of the values, which every tensor with these values has.
        positive: Whether the mask is true where they are positive. At 0 it may be either.
    """

    values: object
    positive: bool


class Rectification(Interception):
    """The application of a rule for ReLUs to one batch, with the signs that masks are.

    Attributes:
        relu: The rule's max(x, 0).
    """

    def __init__(self, table: Table, relu: Relu) -> None:
        super().__init__(table)
        self.relu = relu
        self._signs: dict[int, tuple[ref[Tensor], Sign]] = {}
        self._values: dict[int, tuple[ref[Tensor], int, object]] = {}

    def remember(self, mask: Tensor, sign: Sign) -> None:
        """Notes that a mask, or its proxy, is a sign."""
        key = id(mask)
        self._signs[key] = (ref(mask, lambda _: self._signs.pop(key, None)), sign)

    def sign(self, mask: object) -> Sign | None:
        """Returns the sign that a mask is; None if it is none."""
        found, sign = self._signs.get(id(mask), (None, None))
        return sign if found is not None and found() is mask else None

    def values(self, x: Tensor) -> object:
        """Returns the mark of a tensor's values; copies share it until one is overwritten."""
        found, version, mark = self._values.get(id(x), (None, 0, None))
        if found is None or found() is not x or version != x._version:  # noqa: SLF001 - as autograd checks it
            mark = object()
            self.copies(x, mark)
        return mark

    def copies(self, x: Tensor, mark: object) -> None:
        """Sets the mark of a tensor's values."""
        key = id(x)
        self._values[key] = (ref(x, lambda _: self._values.pop(key, None)), x._version, mark)  # noqa: SLF001

    def is_sign(self, sign: Sign, x: object) -> bool:
        """Returns whether a sign is that of a tensor's present values."""
        return depends(x) and isinstance(x, Tensor) and self.values(x) is sign.values

    def rectified(self, x: Tensor, *, positive: bool) -> Tensor:
        """Returns max(x, 0) by the rule, or min(x, 0)."""
        return self.relu(x) if positive else -self.relu(-x)


def copied(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """`clone` and its like."""
    result = run_plain(func, args, kwargs)
    rectification = _of(interception)
    if depends(args[0]) and result is not args[0]:
        rectification.copies(result, rectification.values(args[0]))
    return result


def compared(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Tensor:
    """A comparison: reported where the target depends on it, and a sign if one side is 0."""
    a, b = (*args, *kwargs.values())[:2]
    name = name_of(func)[0]
    sources = tuple(t for t in (a, b) if depends(t))
    proxy = severed(func(*args, **kwargs), sources)
    interception.report(name, proxy, sources)
    x, zero, greater = (a, b, name in {"gt", "ge"}) if depends(a) else (b, a, name in {"lt", "le"})
    if name in {"gt", "ge", "lt", "le"} and _is_zero(zero):
        rectification = _of(interception)
        rectification.remember(proxy, Sign(rectification.values(x), greater))
    return proxy


def turned_round(
    interception: Interception,
    func: Func,  # noqa: ARG001 - a handler
    args: Arguments,
    kwargs: Keywords,  # noqa: ARG001
) -> Tensor:
    """The negation of a mask."""
    result: Tensor = 1 - args[0]
    sign = _of(interception).sign(args[0])
    if sign is not None:
        _of(interception).remember(result, Sign(sign.values, not sign.positive))
    return result


def cast(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Tensor:
    """A mask as numbers, or an activation as whole numbers, which is reported."""
    result: Tensor = func(*args, **kwargs)
    if not result.is_floating_point():
        result = severed(result, (args[0],))
        interception.report(name_of(func)[0], result, args)
    sign = _of(interception).sign(args[0])
    if sign is not None:
        result = result.clone() if result is args[0] else result
        _of(interception).remember(result, sign)
    return result


def multiplied(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Tensor:
    """A product: x times its own sign is a ReLU."""
    rectification = _of(interception)
    a, b = (*args, *kwargs.values())[:2]
    for x, mask in ((a, b), (b, a)):
        sign = rectification.sign(mask)
        if sign is not None and rectification.is_sign(sign, x):
            return rectification.rectified(x, positive=sign.positive)
    result: Tensor = run_plain(func, args, kwargs)
    return result


def chosen(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Tensor:
    """`where(mask, a, b)`."""
    names = ("condition", "input", "other")
    if func is torch.Tensor.where:
        names = ("input", "condition", "other")
    given = dict(zip(names, args, strict=False)) | kwargs
    return _chosen(_of(interception), given["condition"], given["input"], given["other"], "where")


def filled(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Tensor:
    """`masked_fill(x, mask, value)`."""
    given = dict(zip(("input", "mask", "value"), args, strict=False)) | kwargs
    name = name_of(func)[0]
    return _chosen(_of(interception), given["mask"], given["value"], given["input"], name)


def _chosen(rectification: Rectification, mask: Tensor, a: Any, b: Any, name: str) -> Tensor:
    sign = rectification.sign(mask)
    if sign is not None:
        if rectification.is_sign(sign, a) and _is_zero(b):
            return rectification.rectified(a, positive=sign.positive)
        if rectification.is_sign(sign, b) and _is_zero(a):
            return rectification.rectified(b, positive=not sign.positive)
    result = torch.where(mask.detach() > 0.5 if depends(mask) else mask, a, b)
    if depends(mask):
        rectification.report(name, result, (mask, a, b))
    return result


def extremum(name: str) -> Handler:
    """The larger or the smaller of two: a ReLU beside 0, a switch between two activations."""

    def handler(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
        operands = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
        result = run_plain(func, args, kwargs)
        if len(operands) != 2 or all(map(depends, operands)):
            return result
        x, other = operands if depends(operands[0]) else reversed(operands)
        if _is_zero(other) and x.shape == result.shape:
            return _of(interception).rectified(x, positive="max" in name)
        interception.report(name, result, (args, kwargs))
        return result

    return handler


def bounded(interception: Interception, func: Func, args: Arguments, kwargs: Keywords) -> Any:
    """`clamp`, `clamp_min`, `clamp_max`, `threshold`: by 0 on one side they are ReLUs."""
    name = name_of(func)[0]
    x = args[0] if args else kwargs["input"]
    low, high = _bounds(name, args[1:], kwargs)
    if depends(x) and low is not None and high is None and _is_zero(low):
        return _of(interception).rectified(x, positive=True)
    if depends(x) and high is not None and low is None and _is_zero(high):
        return _of(interception).rectified(x, positive=False)
    result = run_plain(func, args, kwargs)
    interception.report(name, result, (args, kwargs))
    return result


def _bounds(name: str, rest: Arguments, kwargs: Keywords) -> tuple[Any, Any]:
    """Returns the lower and the upper bound; both are set if this is no ReLU."""
    if name == "threshold":
        given = dict(zip(("threshold", "value"), rest, strict=False)) | kwargs
        same = _is_zero(given["threshold"]) and _is_zero(given["value"])
        return 0, None if same else 1
    names = {"clamp": ("min", "max"), "clamp_min": ("min",), "clamp_max": ("max",)}[name]
    given = dict(zip(names, rest, strict=False)) | kwargs
    return given.get("min"), given.get("max")


def _is_zero(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not depends(value) and bool((value == 0).all())
    return isinstance(value, int | float) and value == 0


def _of(interception: Interception) -> Rectification:
    assert isinstance(interception, Rectification), "the rule has its own interception"
    return interception


HANDLERS: dict[str, Handler] = {
    **{name: extremum(name) for name in ("maximum", "minimum", "fmax", "fmin", "max", "min")},
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "threshold"), bounded),
    **dict.fromkeys(("clone", "contiguous"), copied),
    "mul": multiplied,
}
"""The handlers by operation, of arguments with a gradient."""

MAKERS: dict[str, Handler] = {
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), compared),
    **dict.fromkeys(("logical_not", "__invert__"), turned_round),
    **dict.fromkeys(("to", "type", "type_as", "float", "double", "half", "bfloat16"), cast),
    "mul": multiplied,
    "where": chosen,
    "masked_fill": filled,
}
"""The makers of proxies by operation."""
