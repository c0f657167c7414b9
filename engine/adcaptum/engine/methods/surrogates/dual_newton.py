"""Newton's method on the dual of the lasso, whose unknowns are the rows.

Li, Sun, Toh (2018), "A highly efficient semismooth Newton augmented Lagrangian method for solving
Lasso problems", algorithms SSNAL and SSN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.lasso_problem import LassoProblem
from adcaptum.engine.vocabulary.flow import Flow

_ROUNDS = 24
_NEWTON_STEPS = 30
_HALVINGS = 20
# The accuracy of the first round's minimum, relative to |y|; each next round's is twice as good.
_NEAR = 0.1
# The augmentation of the first round, in units of a column's squared length, and its growth.
_AUGMENTED, _GROWTH = 10.0, 3.0


class DualNewton:
    """Minimises |u|^2 / 2 + u'y where no element of X'u is beyond the penalty.

    Attributes:
        point: u, (rows,): at the end the residual y - X b with the sign reversed.
        coefficients: b, the multipliers.
    """

    __slots__ = ("_augmented", "_penalty", "_problem", "coefficients", "point")

    def __init__(self, problem: LassoProblem, penalty: float) -> None:
        self._problem = problem
        self._penalty = penalty
        self._augmented = _AUGMENTED / problem.scale
        self.coefficients = torch.zeros_like(problem.moments)
        self.point = -problem.right

    def solved(self) -> Flow[Tensor | None]:
        """Solves for the coefficients of the minimum; None if it is not found."""
        near = _NEAR * float(self._problem.right.norm())
        for _ in range(_ROUNDS):
            yield from self._minimise(near)
            # Once the signs are right, so are the coefficients.
            exact = yield from self._problem.solve(self._penalty, self.coefficients.sign())
            for found in (exact, self.coefficients):
                if found is not None and self._problem.settled(self._penalty, found):
                    return found
            near /= 2
            self._augmented *= _GROWTH
        return None

    def _minimise(self, near: float) -> Flow[None]:
        """Minimises the augmented Lagrangian approximately, and moves the multipliers."""
        design = self._problem.design
        back = design.T @ self.point
        shrunk = self._shrunk(back)
        for _ in range(_NEWTON_STEPS):
            gradient = self.point + self._problem.right - design @ shrunk
            if float(gradient.norm()) <= near:
                break
            step = yield from self._step(gradient, shrunk)
            back_step = design.T @ step
            value, slope = self._value(self.point, shrunk), float(gradient @ step)
            share = 1.0
            for _ in range(_HALVINGS):
                shrunk = self._shrunk(back + share * back_step)
                if self._value(self.point + share * step, shrunk) <= value + 1e-4 * share * slope:
                    break
                share /= 2
            self.point, back = self.point + share * step, back + share * back_step
        self.coefficients = shrunk

    def _shrunk(self, back: Tensor) -> Tensor:
        """The multipliers as they would move, from X'u."""
        free = self.coefficients - self._augmented * back
        return free.sign() * (free.abs() - self._augmented * self._penalty).clamp_min(0)

    def _value(self, point: Tensor, shrunk: Tensor) -> float:
        fitted = point.square().sum() / 2 + self._problem.right @ point
        return float(fitted + shrunk.square().sum() / (2 * self._augmented))

    def _step(self, gradient: Tensor, shrunk: Tensor) -> Flow[Tensor]:
        """Solves (1 + augmented X_A X_A') step = -gradient, A the features that are not zero."""
        columns = self._problem.design[:, shrunk.nonzero()[:, 0]]
        rows, active = columns.shape
        small, large = sorted((rows, active))
        yield from self._problem.pauses.before(small**2 * large + small**3 / 3)
        few = active <= rows
        matrix = columns.T @ columns if few else columns @ columns.T
        matrix.diagonal().add_(1 / self._augmented)
        side = (columns.T @ gradient if few else gradient / self._augmented)[:, None]
        solved = torch.cholesky_solve(side, torch.linalg.cholesky(matrix))[:, 0]
        return columns @ solved - gradient if few else -solved
