"""One weighted regression with an intercept: its ridge, its lasso, and the errors of either."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.lasso import lasso
from adcaptum.engine.sampling.replicates import signs
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.pauses import PIECE_MULTIPLY_ADDS, Pauses

_SINGULAR = 1e-12
_JITTER = 1e-10
_MOST_NUMBERS = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class WeightedRegression:
    """Rows, centred by their weighted means and multiplied by the roots of their weights.

    Attributes:
        design: X, float64 of shape (rows, features).
        right: y, (rows,).
        weights: Of each row, in all one, (rows,).
        products: X'X, where there are no fewer rows than features.
        pauses: The pauses between pieces.
    """

    design: Tensor
    right: Tensor
    weights: Tensor
    products: Tensor | None
    pauses: Pauses

    @classmethod
    def of(cls, design: Tensor, weights: Tensor, right: Tensor, pauses: Pauses) -> Flow[Self]:
        """Centres and weights rows, and computes their products.

        Args:
            design: Numbers of any dtype, (rows, features).
            weights: Of each row, float64 of shape (rows,), in all one.
            right: The rows' outputs, centred and weighted, float64 of shape (rows,).
            pauses: The pauses between pieces.
        """
        x = design.to(torch.float64, copy=True)
        rows, features = x.shape
        x.sub_(weights @ x).mul_(weights.sqrt()[:, None])
        if features > rows:
            return cls(x, right, weights, None, pauses)
        products = x.new_zeros(features, features)
        for some in x.split(_rows_at_once(features)):
            yield from pauses.before(len(some) * features**2)
            products.addmm_(some.T, some)
        return cls(x, right, weights, products, pauses)

    def ridge(self, alpha: float) -> Flow[Tensor]:
        """The minimum of |y - X b|^2 + alpha |b|^2, (features,)."""
        rows, features = self.design.shape
        if self.products is not None:
            yield from self.pauses.before(features**3 / 3)
            sides = (self.design.T @ self.right)[:, None]
            return torch.cholesky_solve(sides, _factor(self.products, alpha))[:, 0]
        yield from self.pauses.before(rows**2 * features)
        factor = _factor(self.design @ self.design.T, alpha)
        return self.design.T @ torch.cholesky_solve(self.right[:, None], factor)[:, 0]

    def lasso(self, penalty: float) -> Flow[Tensor]:
        """The minimum of |y - X b|^2 / 2 + penalty |b|_1, (features,)."""
        return (yield from lasso(self.design, self.right, penalty, products=self.products))

    def errors(
        self, values: Tensor, kept: Tensor, alpha: float, draws: int
    ) -> Flow[tuple[Tensor, Tensor]]:
        """The effects of the rows' residuals on some coefficients.

        Args:
            values: All coefficients, (features,).
            kept: The coefficients that were free, int64 of shape (kept,).
            alpha: The penalty on the squares of these.
            draws: The number of sums with random signs.

        Returns:
            The standard errors, (kept,), and the sums divided by the root of draws, (draws, kept).
        """
        rows, count = len(self.design), len(kept)
        squares = self.design.new_zeros(count)
        sums = self.design.new_zeros(draws, count)
        if not count:
            return squares, sums
        if rows <= count + 1:
            return squares + inf, sums + inf
        everything = count == self.design.shape[1]
        chosen = self.design if everything else self.design[:, kept]
        if self.products is None:
            yield from self.pauses.before(rows * count**2)
            products = chosen.T @ chosen
        else:
            products = self.products if everything else self.products[kept[:, None], kept]
        yield from self.pauses.before(count**3 / 3)
        factor = _factor(products, alpha)
        residual = self.right - self.design @ values
        flips = signs(rows) if draws else None
        size = _rows_at_once(count)
        for start in range(0, rows, size):
            some = slice(start, min(start + size, rows))
            yield from self.pauses.before((some.stop - start) * count**2)
            solution = torch.cholesky_solve(chosen[some].T, factor)
            # The share of each row's own output in its fit, the intercept included.
            leverage = (solution * chosen[some].T).sum(0) + self.weights[some]
            added = solution * (residual[some] / (1 - leverage).clamp_min(1e-9))
            squares += added.square().sum(1)
            if flips is not None:
                sums += flips[:, some].double() @ added.T
        return squares.sqrt(), sums / max(draws, 1) ** 0.5


def _rows_at_once(features: int) -> int:
    """The number of rows of a piece."""
    features = max(features, 1)
    return max(1, min(int(PIECE_MULTIPLY_ADDS / features**2), _MOST_NUMBERS // features))


def _factor(products: Tensor, alpha: float) -> Tensor:
    """The Cholesky factor of the products + alpha; singular ones get a little more."""
    matrix = products.clone()
    matrix.diagonal().add_(alpha)
    largest = matrix.diagonal().max() if len(matrix) else matrix.new_zeros(())
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed or (len(matrix) and factor.diagonal().square().min() <= _SINGULAR * largest):
        # This gives nearly the solution of least length.
        matrix.diagonal().add_(max(_JITTER * float(largest), 1e-300))
        factor = torch.linalg.cholesky(matrix)
    return factor
