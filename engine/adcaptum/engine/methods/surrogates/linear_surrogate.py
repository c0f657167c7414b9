"""The linear surrogate of LIME: a weighted regression with an intercept and a penalty.

Weights are normalised to a sum of one and everything is centred by the weighted means, which takes
care of the intercept. With X and y so centred, and each row times the root of its weight:

    ridge: minimises |y - X b|^2 + alpha |b|^2
    lasso: minimises |y - X b|^2 / 2 + alpha s |b|_1, where s = |y|, the weighted standard deviation

so that alpha has no unit, and an explanation scales with the outputs that it explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.lasso import lasso
from adcaptum.engine.sampling.replicates import signs

Kind = Literal["lasso", "ridge"]


def fit(
    kind: Kind, alpha: float, coalitions: Tensor, weights: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Fits a surrogate to each game.

    The standard errors are those of a regression whose rows are drawn by chance and need not be
    linear (White 1980, grown as in MacKinnon, White 1985, HC3). Of a lasso they are those of the
    features that it keeps, as if only these had been there, and zero for the others; infinite
    where there are no more rows than coefficients.

    Args:
        kind: Which surrogate.
        alpha: The penalty.
        coalitions: bool of shape (rows, features), the same for all.
        weights: Of each row, float64 of shape (examples, rows).
        outputs: Of each row, float64 of shape (examples, outputs, rows).

    Returns:
        The coefficients and their standard errors, float64 of shape (examples * outputs, features).
    """
    fits = _fits(kind, alpha, coalitions, weights, outputs)
    return torch.stack([f.values for f in fits]), torch.stack([f.errors for f in fits])


def fit_with_parts(
    kind: Kind, alpha: float, coalitions: Tensor, weights: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fits a surrogate to each game, as `fit` does, and tells how the coefficients err together.

    Returns:
        The coefficients; their standard errors; and what they would be off by if each row were off
        by its residual, with random signs, (games, draws, features), divided by the root of draws.
    """
    fits = _fits(kind, alpha, coalitions, weights, outputs)
    flips = signs(len(coalitions)).double() / len(signs(1)) ** 0.5
    values, errors, parts = zip(
        *((f.values, f.errors, flips @ f.added.T) for f in fits), strict=True
    )
    return torch.stack(values), torch.stack(errors), torch.stack(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A surrogate of one game.

    Attributes:
        values: The coefficients, (features,).
        added: What each row by itself adds to them, (features, rows).
    """

    values: Tensor
    added: Tensor

    @property
    def errors(self) -> Tensor:
        """The standard errors of the coefficients."""
        return self.added.square().sum(1).sqrt()


def _fits(
    kind: Kind, alpha: float, coalitions: Tensor, weights: Tensor, outputs: Tensor
) -> list[_Fit]:
    design = coalitions.cpu().double()
    return [
        _one(kind, alpha, design, _shares(own), output)
        for own, of_example in zip(weights, outputs, strict=True)
        for output in of_example
    ]


def _shares(weights: Tensor) -> Tensor:
    """Weights with a sum of one. Where none is near enough to count, all are as near."""
    total = weights.sum()
    return weights / total if total > 0 else torch.full_like(weights, 1 / len(weights))


def _one(kind: Kind, alpha: float, design: Tensor, weights: Tensor, output: Tensor) -> _Fit:
    root = weights.sqrt()
    x = (design - weights @ design) * root[:, None]
    y = (output - weights @ output) * root
    spread = float(y.norm())
    if spread <= 1e-12 * float(output.abs().max()):
        # The output is the same whatever is there: rounding errors are nothing to explain.
        return _Fit(torch.zeros_like(x[0]), torch.zeros_like(x).T)
    if kind == "ridge":
        solution = _ridge(x, alpha)
        values = solution @ y
        return _Fit(values, _added(x, solution, y - x @ values, weights))
    rows, right = x, y
    if len(x) > x.shape[1]:
        # As many rows as features say the same.
        basis, rows = torch.linalg.qr(x)
        right = basis.T @ y
    values = lasso(rows, right, max(alpha, 1e-9) * spread)
    kept = values.nonzero()[:, 0]
    added = torch.zeros_like(x).T
    if len(kept):
        chosen = x[:, kept]
        added[kept] = _added(chosen, _ridge(chosen, 0.0), y - x @ values, weights)
    return _Fit(values, added)


def _ridge(x: Tensor, alpha: float) -> Tensor:
    """What takes y to the coefficients, (features, rows)."""
    rows, features = x.shape
    wide = features > rows
    matrix = x @ x.T if wide else x.T @ x
    matrix = matrix + alpha * torch.eye(len(matrix), dtype=x.dtype)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    smallest = factor.diagonal().square().min() if len(matrix) else torch.ones(())
    if failed or smallest <= 1e-12 * matrix.diagonal().max():
        inverse = torch.linalg.pinv(matrix, hermitian=True)
        return x.T @ inverse if wide else inverse @ x.T
    return torch.cholesky_solve(x, factor).T if wide else torch.cholesky_solve(x.T, factor)


def _added(x: Tensor, solution: Tensor, residual: Tensor, weights: Tensor) -> Tensor:
    """What each row adds to the coefficients, if it is off by its residual; or nobody knows."""
    if len(x) <= x.shape[1] + 1:
        return torch.full_like(solution, torch.inf)
    # What each row's own output adds to its fit; the intercept fits, too.
    leverage = (solution * x.T).sum(0) + weights
    return solution * (residual / (1 - leverage).clamp_min(1e-9))
