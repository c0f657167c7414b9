"""The lasso's objective, |y - X b|^2 / 2 + penalty |b|_1, and the linear systems in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.pauses import Pauses

_EXACT = 1e-9
_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class LassoProblem:
    """A lasso without its penalty.

    Attributes:
        design: X, float64 of shape (rows, features).
        right: y, (rows,).
        moments: X'y, (features,).
        products: X'X, where there are no fewer rows than features.
        pauses: The pauses between factorisations.
    """

    design: Tensor
    right: Tensor
    moments: Tensor
    products: Tensor | None
    pauses: Pauses

    @property
    def scale(self) -> float:
        """The weight of a coefficient beside its dual in the choice of the active features.

        It is well below a column's squared length: otherwise wrong signs alternate instead of
        becoming zero.
        """
        squares = torch.linalg.vector_norm(self.design).square()
        return _SHARE * float(squares) / len(self.moments)

    def among(self, active: Tensor) -> Tensor:
        """The products of some features' columns."""
        if self.products is not None:
            return self.products[active[:, None], active]
        columns = self.design[:, active]
        return columns.T @ columns

    def dual(self, coefficients: Tensor) -> Tensor:
        """X'(y - X b), the part of the moments that is not fitted."""
        if self.products is not None:
            return self.moments - self.products @ coefficients
        return self.moments - self.design.T @ (self.design @ coefficients)

    def solve(self, penalty: float, signs: Tensor) -> Flow[Tensor | None]:
        """Solves for the coefficients of given signs.

        Returns:
            The minimum if the signs are right; None where the features depend on each other.
        """
        active = signs.nonzero()[:, 0]
        if len(active) > len(self.design):
            return None
        yield from self.pauses.before(self.factorisation(len(active)))
        factor, failed = torch.linalg.cholesky_ex(self.among(active))
        if failed:
            return None
        sides = (self.moments[active] - penalty * signs[active])[:, None]
        coefficients = torch.zeros_like(self.moments)
        coefficients[active] = torch.cholesky_solve(sides, factor)[:, 0]
        return coefficients

    def factorisation(self, active: int) -> float:
        """The multiply-adds of a factorisation of the products of some features."""
        made = 0 if self.products is not None else len(self.design) * active**2
        return made + active**3 / 3

    def settled(self, penalty: float, coefficients: Tensor) -> bool:
        """Returns whether the conditions of Karush, Kuhn and Tucker hold: this is the minimum."""
        dual = self.dual(coefficients)
        off = torch.where(
            coefficients == 0,
            (dual.abs() - penalty).clamp_min(0),
            (dual - penalty * coefficients.sign()).abs(),
        )
        return float(off.max()) <= _EXACT * float(self.moments.abs().max())
