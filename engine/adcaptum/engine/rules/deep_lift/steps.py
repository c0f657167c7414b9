"""Differences of operations without a gradient: comparisons, casts, masks, choices by masks.

A comparison is a step function of its operands, with 0 and 1 for its values. Its multipliers are
those of any function of one or two elements (see `differences`): the quotient of the differences,
which is right at a jump. A choice `where(mask, a, b)` is the polynomial mask a + (1 - mask) b,
so that h where h > 0 has the multipliers of ReLU. Shrikumar, Greenside, Kundaje (2017),
https://arxiv.org/abs/1704.02685, do not treat them; the rule follows
from completeness.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import binary, pairs_of, rescaled
from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, attach, depends
from adcaptum.engine.rules.proxies import number_dtype, severed


def compared(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Comparisons of two: step functions of both."""

    def step(a: Any, b: Any, **rest: Any) -> Tensor:
        return severed(func(a, b, **rest), tuple(t for t in (a, b) if isinstance(t, Tensor)))

    step.__name__ = func.__name__
    result: Tensor = binary(interception, step, args, kwargs)
    return result


def stepped(at: int) -> Handler:
    """Returns the maker for a function with jumps of each element of one argument."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        x = args[at] if len(args) > at else next(t for t in kwargs.values() if depends(t))

        def step(t: Tensor) -> Tensor:
            t = t.contiguous()  # as bucketize wants it
            replaced = tuple(t if a is x else a for a in args)
            named = {key: t if value is x else value for key, value in kwargs.items()}
            return severed(run_plain(func, replaced, named), (t,))

        return rescaled(pairs_of(interception), x, step)

    return handler


def logical(name: str) -> Handler:
    """Logical operations (and, or, exclusive or, not): polynomials in truth values."""

    def body(a: Any, b: Any = 0) -> Tensor:
        if name == "not":
            return 1 - a
        both = a * b
        if name == "and":
            return both
        return a + b - (both if name == "or" else 2 * both)

    def handler(
        interception: Interception,
        func: Func,  # noqa: ARG001 - a handler
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        operands = [*args, *kwargs.values()]
        dtype = number_dtype(t for t in operands if depends(t))

        def truth(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return float(bool(value))
            if not depends(value):
                return value.ne(0).to(dtype)
            return compared(interception, torch.ne, (value, 0), {})

        return interception.within(body, *map(truth, operands))

    return handler


def reduced(name: str) -> Handler:
    """`any` and `all`: the largest or the smallest truth value."""

    def handler(
        interception: Interception,
        func: Func,  # noqa: ARG001 - a handler
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        truth = compared(interception, torch.ne, (args[0], 0), {})
        function = torch.amax if name == "any" else torch.amin
        return interception.within(function, truth, *args[1:], **kwargs)

    return handler


def itself(
    interception: Interception,  # noqa: ARG001 - a handler
    func: Func,  # noqa: ARG001
    args: tuple[Any, ...],
    kwargs: dict[str, Any],  # noqa: ARG001
) -> Tensor:
    """The operation `detach`: its result depends on the same values as its argument."""
    x: Tensor = args[0]
    return x


def chosen_by_mask(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """The operation `where(mask, a, b)` with a mask that depends on the explained values."""
    names = ("condition", "input", "other")
    if func is torch.Tensor.where:
        names = ("input", "condition", "other")
    given = dict(zip(names, args, strict=False)) | kwargs
    return _chosen(interception, func, given["condition"], given["input"], given["other"])


def filled_by_mask(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """The operation `masked_fill(x, mask, value)`, likewise."""
    given = dict(zip(("input", "mask", "value"), args, strict=False)) | kwargs
    return _chosen(interception, func, given["mask"], given["value"], given["input"])


def _chosen(interception: Interception, func: Func, mask: Any, a: Any, b: Any) -> Tensor:
    if not depends(mask):
        # The mask has no proxy, only the values do.
        return interception.within(lambda: torch.where(mask, a, b))
    pairs = pairs_of(interception)
    a, b = (t if isinstance(t, Tensor) else mask.new_tensor(t) for t in (a, b))
    with torch.no_grad():
        y = torch.where(mask.detach() > 0.5, a.detach(), b.detach())
    mask = pairs.expand(mask, y.shape)
    a, b = (pairs.expand(t, y.shape) if depends(t) else t for t in (a, b))
    with torch.no_grad():
        m, m0 = mask.detach(), pairs.of(mask)
        (a1, a0), (b1, b0) = ((t.detach(), pairs.of(t) if depends(t) else t) for t in (a, b))
        change = m - m0
        of_mask, of_a = (a1 + a0 - b1 - b0) / 2, (m + m0) / 2
        # A value that is not chosen may be infinite: then the mask gets the whole difference.
        whole = (change != 0) & ~of_mask.isfinite()
        difference = y - torch.where(m0 > 0.5, a0, b0)
        of_mask = torch.where(whole, difference / change, of_mask)
        of_mask = torch.where(change == 0, 0, of_mask)
        incomplete = bool((~of_mask.isfinite()).any())
        of_a, of_b = torch.where(whole, 0, of_a), torch.where(whole, 0, 1 - of_a)
    surrogate = mask * of_mask.nan_to_num(0, 0, 0)
    for t, multiplier in ((a, of_a), (b, of_b)):
        if depends(t):
            surrogate = surrogate + t * multiplier
    result = attach(y, surrogate)
    if incomplete:
        interception.report(func.__name__, result, (mask, a, b))
    return result


def cast(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Casts (`to` and its like): a step function where the new type has no fractions."""
    with torch.no_grad():
        value = func(*args, **kwargs)
    if value.is_floating_point() or value.is_complex():
        return run_plain(func, args, kwargs)
    return stepped(0)(interception, func, args, kwargs)


MAKERS: dict[str, Handler] = {
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), compared),
    **dict.fromkeys(
        ("isnan", "isinf", "isfinite", "signbit", "bucketize", "isin", "heaviside"), stepped(0)
    ),
    **dict.fromkeys(("bool", "long", "int", "short", "char", "byte"), stepped(0)),
    **dict.fromkeys(("to", "type", "type_as"), cast),
    "searchsorted": stepped(1),
    **dict.fromkeys(("logical_and", "__and__"), logical("and")),
    **dict.fromkeys(("logical_or", "__or__"), logical("or")),
    **dict.fromkeys(("logical_xor", "__xor__"), logical("xor")),
    **dict.fromkeys(("logical_not", "__invert__"), logical("not")),
    "any": reduced("any"),
    "all": reduced("all"),
    **dict.fromkeys(("detach", "data"), itself),
    "where": chosen_by_mask,
    "masked_fill": filled_by_mask,
}
"""The makers of proxies by operation."""
