"""Relevance through complex numbers: between two real tensors the gradient is passed.

Relevance is a real number. Where a model goes from real to complex numbers, its values are
multiplied with the gradient that arrives; where it comes back, relevance is divided by the values.
In between the plain gradient flows, so that a chain of linear operations (spectra, filters,
rotations) shares relevance in proportion to contributions, as one linear map would. A modulus is
homogeneous, and does so, too. The factors of a product get equal parts, the numerator of a quotient
gets all. Any other function of complex numbers shares to first order, and is reported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from adcaptum.engine.rules.dispatch_table import run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception, depends
from adcaptum.engine.rules.lrp.autograd_functions import Enter, Leave, applied
from adcaptum.engine.rules.lrp.propagation import Propagation, propagation_of
from adcaptum.engine.rules.operations import BILINEAR, LINEAR, MOVEMENT, words

MAKING = frozenset(name for name in LINEAR if name.startswith("fft_")) | words(
    "stft istft complex view_as_complex view_as_real polar"
)
"""Operations between real and complex numbers, whatever their arguments are."""

CROSSING = MAKING | words("real imag to type type_as")
"""Operations that may have a complex argument or result, and no handler of their own."""

_HOMOGENEOUS = LINEAR | MOVEMENT | BILINEAR | words("abs square div")


def crossing(name: str, otherwise: Handler) -> Handler:
    """Returns a handler: the operation's own for real numbers, this file's for complex ones."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name not in MAKING and not _is_complex((*args, *kwargs.values())):
            return otherwise(interception, func, args, kwargs)
        return _crossed(name, propagation_of(interception), func, args, kwargs)

    return handler


def _crossed(
    name: str, propagation: Propagation, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if name == "div" and depends(args[0]):
        args = (args[0], *(a.detach() if isinstance(a, Tensor) else a for a in args[1:]))
    if name == "abs":
        # An AbsBackward node in the graph would be listed as an operation without a rule.
        func, args, kwargs = _modulus, args[:1], {}
    degree = 2 if name == "square" else 1
    if name in BILINEAR:
        degree = _dependents((args, kwargs))
    part = 1 / degree

    def entered(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [entered(v) for v in value]
        if not depends(value):
            return value
        if not value.is_complex():
            return applied(Enter, value, propagation.keep(value), part)
        # The sum equals the value exactly, since halving is exact.
        return value if part == 1 else value * part + (value * (1 - part)).detach()

    def left(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [left(v) for v in value]
        if depends(value) and value.is_floating_point():
            return applied(Leave, value, propagation.keep(value), propagation.composite.epsilon)
        return value

    given = {key: entered(value) for key, value in kwargs.items()}
    result = left(run_plain(func, tuple(map(entered, args)), given))
    if name not in _HOMOGENEOUS:
        propagation.report(name, result)
    return result


def _modulus(z: Tensor) -> Tensor:
    return torch.linalg.vector_norm(torch.view_as_real(z.resolve_conj()), dim=-1)


def _is_complex(values: Any) -> bool:
    for value in values:
        if isinstance(value, Tensor | torch.dtype):
            if value.is_complex() if isinstance(value, Tensor) else value.is_complex:
                return True
        elif isinstance(value, complex) or (isinstance(value, list | tuple) and _is_complex(value)):
            return True
    return False


def _dependents(values: Any) -> int:
    return sum(map(depends, tree_leaves(values)))
