"""Arguments of path methods: the quadrature rule, the steps, and options of autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.methods.paths.quadrature import Rule

# The engine materialises unused gradients, and frees or keeps graphs as it needs them.
_GRAD_OPTIONS = {"allow_unused", "materialize_grads", "retain_graph"}


def checked_rule(method: str, n_steps: int) -> Rule:
    """Returns the quadrature rule.

    Raises:
        InvalidInput: If there is no such rule, or n_steps is below one.
    """
    if method not in get_args(Rule):
        raise InvalidInput("method", repr(method), f"one of {', '.join(get_args(Rule))}")
    if n_steps < 1:
        raise InvalidInput("n_steps", n_steps, "at least 1")
    return cast("Rule", method)


def check_grad_kwargs(grad_kwargs: Mapping[str, Any] | None) -> None:
    """Accepts the options of torch.autograd.grad whose effects every method has anyway.

    Raises:
        TypeError: For others: results are detached, and each row has its own gradient.
    """
    unknown = set(grad_kwargs or ()) - _GRAD_OPTIONS
    if unknown:
        raise TypeError(
            f"grad_kwargs may hold {', '.join(sorted(_GRAD_OPTIONS))}, not "
            f"{', '.join(sorted(unknown))}"
        )
