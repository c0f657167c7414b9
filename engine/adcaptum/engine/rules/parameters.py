"""Parameters among the arguments of operations."""

from __future__ import annotations

from torch import Tensor, nn


def is_parameter(value: object) -> bool:
    """Returns `isinstance(value, nn.Parameter)`, which is slow, by the type where that decides."""
    kind = type(value)
    if kind is Tensor:
        return False
    return kind is nn.Parameter or (isinstance(value, Tensor) and isinstance(value, nn.Parameter))
