"""Quadrature on [0, 1]: nodes and weights of the rules that path methods use.

The weights of every rule sum to 1. Captum's `riemann_trapezoid` weights sum to (n - 1) / n; here
the rule is the composite trapezoid with n nodes, ends included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Rule = Literal[
    "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"
]

# Newton's method doubles the digits; the first guess has at least three.
_NEWTON_STEPS = 4


@lru_cache(maxsize=256)
def nodes_and_weights(rule: Rule, n: int) -> tuple[Tensor, Tensor]:
    """The n nodes, ascending, and their weights, each float64 of shape (n,).

    Args:
        rule: gausslegendre, or one of the Riemann sums.
        n: The number of nodes; a trapezoid has at least 2.
    """
    if rule == "gausslegendre":
        return _gauss_legendre(n)
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


@lru_cache(maxsize=256)
def nodes_with_ends(rule: Rule, n: int, *, with_ends: bool) -> tuple[Tensor, Tensor]:
    """The nodes and weights; with the ends, of weight 0, which give the completeness error.

    Args:
        rule: The rule.
        n: The number of its nodes.
        with_ends: Whether to add 0 and 1.
    """
    nodes, weights = nodes_and_weights(rule, n)
    if not with_ends:
        return nodes, weights
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return torch.cat([zero, nodes, one]), torch.cat([zero, weights, zero])


def _gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1], by Newton's method on the polynomial's zeros.

    Its cost grows as n^2; that of the eigenvalues of a matrix, which NumPy takes, as n^3: 10,000
    nodes take half a second instead of minutes. First guess: Tricomi (1950), quoted by Hale and
    Townsend (2013), https://doi.org/10.1137/120889873, equation 3.4.
    """
    half = (n + 1) // 2
    k = torch.arange(1, half + 1, dtype=torch.float64)
    x = (1 - (n - 1) / (8 * n**3)) * torch.cos(torch.pi * (4 * k - 1) / (4 * n + 2))
    for _ in range(_NEWTON_STEPS):
        value, slope = _legendre(n, x)
        x = x - value / slope
    _, slope = _legendre(n, x)
    weights = 1 / ((1 - x**2) * slope**2)
    if n % 2:
        x[-1] = 0  # the middle one, exactly
    ascending = torch.cat([-x, x.flip(0)[n % 2 :]])
    both = torch.cat([weights, weights.flip(0)[n % 2 :]])
    return (ascending + 1) / 2, both / both.sum()


def _legendre(n: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The Legendre polynomial of degree n at x, and its derivative (Bonnet's recurrence)."""
    before, value = torch.ones_like(x), x.clone()
    for j in range(2, n + 1):
        before, value = (
            value,
            torch.addcmul(before * ((1 - j) / j), x, value, value=(2 * j - 1) / j),
        )
    return value, n * (before - x * value) / (1 - x**2)
