"""Real functions of complex numbers, written out in their real and imaginary parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adcaptum.engine.rules.deep_lift.differences import elementwise, uncovered
from adcaptum.engine.rules.interception import Func, Handler, Interception


def modulus(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The absolute value: sqrt(re^2 + im^2) of a complex number."""
    x = args[0] if args else kwargs["input"]
    if not x.is_complex():
        return elementwise(interception, func, args, kwargs)
    return interception.within(_length, x)


def angle(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The argument of a complex number, atan2(im, re); real numbers have no rule here."""
    x = args[0] if args else kwargs["input"]
    if not x.is_complex():
        return uncovered(interception, func, args, kwargs)
    return interception.within(lambda: torch.atan2(x.imag, x.real))


def _length(x: Tensor) -> Tensor:
    return torch.sqrt(torch.square(x.real) + torch.square(x.imag))


COMPLEX: dict[str, Handler] = {"abs": modulus, "angle": angle}
"""The handlers by operation."""
