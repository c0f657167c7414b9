"""The linear surrogate of LIME: a weighted regression with an intercept and a penalty.

Weights are normalised to a sum of one and everything is centred by the weighted means, which takes
care of the intercept. With X and y so centred, and each row times the root of its weight:

    ridge: minimises |y - X b|^2 + alpha |b|^2
    lasso: minimises |y - X b|^2 / 2 + alpha s |b|_1, where s = |y|, the weighted standard deviation

so that alpha has no unit, and an explanation scales with the outputs that it explains.

The standard errors are those of a regression whose rows are drawn by chance and need not be linear
(White 1980, grown as in MacKinnon, White 1985, HC3). Of a lasso they are those of the features that
it keeps, as if only these had been there, and zero for the others; infinite where there are no more
rows than coefficients. They are not a number where the coefficients are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Literal, Self

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.weighted_regression import WeightedRegression
from adcaptum.engine.sampling.replicates import signs
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.pauses import Pauses

Kind = Literal["lasso", "ridge"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearSurrogate:
    """Fits to some games.

    Attributes:
        values: The coefficients, float64 of shape (games, features).
        errors: Their standard errors, of the same shape.
        parts: The coefficients' errors if each row were off by its residual, with random signs,
            (games, draws, features), divided by the root of draws; no draws if not asked for.
    """

    values: Tensor
    errors: Tensor
    parts: Tensor

    @classmethod
    def joined(cls, fits: list[Self]) -> Self:
        """Fits to several games as one."""
        return cls(
            torch.cat([f.values for f in fits]),
            torch.cat([f.errors for f in fits]),
            torch.cat([f.parts for f in fits]),
        )

    @classmethod
    def same(cls, number: float, features: int, draws: int) -> Self:
        """A fit of one game with the same number everywhere: zero, or not a number."""
        values = torch.full((1, features), number, dtype=torch.float64)
        return cls(values, values, values.expand(draws, -1)[None])


def fit(
    kind: Kind,
    alpha: float,
    coalitions: Tensor,
    weights: Tensor,
    outputs: Tensor,
    *,
    with_parts: bool = False,
) -> Flow[LinearSurrogate]:
    """Fits a surrogate to each game, which is not a number where an output of the game is not.

    Args:
        kind: The surrogate.
        alpha: The penalty.
        coalitions: bool, or other numbers, of shape (rows, features), the same for all games.
        weights: The weight of each row, float64 of shape (examples, rows).
        outputs: The outputs of each row, float64 of shape (examples, outputs, rows).
        with_parts: Whether to make `LinearSurrogate.parts`.
    """
    fitting = _Fitting(kind, alpha, coalitions.cpu(), len(signs(1)) if with_parts else 0, Pauses())
    fits: list[LinearSurrogate] = []
    for own, of_example in zip(weights, outputs, strict=True):
        shares = _shares(own)
        for output in of_example:
            found = yield from fitting.one(shares, output)
            fits += (found,)
    return LinearSurrogate.joined(fits)


def fit_multiply_adds(rows: int, features: int) -> float:
    """Estimates the multiply-adds of the fit of one game: those of a lasso, which are more."""
    if features <= rows:
        return 2.5 * rows * features**2 + 3 * features**3
    # Some forty steps of Newton's method on the dual; their line searches wait for memory.
    return 40 * rows**3 + 2000 * rows * features


def _shares(weights: Tensor) -> Tensor:
    """Weights normalised to a sum of one; equal weights where all are zero."""
    total = weights.sum()
    return torch.full_like(weights, 1 / len(weights)) if total == 0 else weights / total


@dataclass(frozen=True, slots=True, eq=False)
class _Fitting:
    """The settings that the fits of one call have in common.

    Attributes:
        kind: The surrogate.
        alpha: The penalty.
        coalitions: (rows, features).
        draws: The number of sums with random signs.
        pauses: The pauses between pieces.
    """

    kind: Kind
    alpha: float
    coalitions: Tensor
    draws: int
    pauses: Pauses

    def one(self, weights: Tensor, output: Tensor) -> Flow[LinearSurrogate]:
        """Fits a surrogate to one game.

        Args:
            weights: Of each row, in all one, (rows,).
            output: Of each row, (rows,).
        """
        features = self.coalitions.shape[1]
        if not (weights.isfinite().all() and output.isfinite().all()):
            return LinearSurrogate.same(nan, features, self.draws)
        right = (output - weights @ output) * weights.sqrt()
        spread = float(right.norm())
        if spread <= 1e-12 * float(output.abs().max()):
            # The output is constant but for rounding errors: there is nothing to explain.
            return LinearSurrogate.same(0.0, features, self.draws)
        regression = yield from WeightedRegression.of(self.coalitions, weights, right, self.pauses)
        alpha = self.alpha
        if self.kind == "ridge":
            values = yield from regression.ridge(alpha)
            kept = torch.arange(features)
        else:
            values = yield from regression.lasso(max(alpha, 1e-9) * spread)
            kept, alpha = values.nonzero()[:, 0], 0.0
        found, sums = yield from regression.errors(values, kept, alpha, self.draws)
        errors, parts = torch.zeros_like(values), values.new_zeros(self.draws, features)
        errors[kept], parts[:, kept] = found, sums
        return LinearSurrogate(values[None], errors[None], parts[None])
