"""Quadrature on [0, 1]: nodes and weights of the rules that path methods use.

The weights of every rule sum to 1. Captum's `riemann_trapezoid` weights sum to (n - 1) / n; here
the rule is the composite trapezoid with n nodes, ends included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Rule = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"
]


@lru_cache(maxsize=256)
def nodes_and_weights(rule: Rule, n: int) -> tuple[Tensor, Tensor]:
    """Gives the n nodes, ascending, and their weights, each float64 of shape (n,).

    Args:
        rule: gausslegendre, or one of the Riemann sums.
        n: How many nodes; a trapezoid has at least 2.
    """
    if rule == "gausslegendre":
        x, w = np.polynomial.legendre.leggauss(n)
        return torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)
    steps = torch.arange(n, dtype=torch.float64)
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    if rule == "riemann_left":
        return steps / n, weights
    if rule == "riemann_right":
        return (steps + 1) / n, weights
    if rule == "riemann_middle":
        return (steps + 0.5) / n, weights
    if n == 1:
        return torch.tensor([0.5], dtype=torch.float64), weights
    weights = torch.full((n,), 1 / (n - 1), dtype=torch.float64)
    weights[[0, -1]] /= 2
    return steps / (n - 1), weights
