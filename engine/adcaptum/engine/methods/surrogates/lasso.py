"""The lasso, solved to the end: which coefficients are zero is found, the others follow exactly.

Minimises |y - X b|^2 / 2 + penalty |b|_1. Where the set of non-zero coefficients and their signs
are known, the rest is a linear system. They are found in one of three ways:
1. By a primal-dual active set along a path of falling penalties (Fan, Jiao, Lu 2014, "A primal dual
   active set algorithm with continuation for compressed sensing", algorithm 2), which takes few
   steps whatever the number of features.
2. Where that does not settle, as with fewer rows than features, by Newton's method on the dual,
   whose unknowns are the rows (Li, Sun, Toh 2018, "A highly efficient semismooth Newton augmented
   Lagrangian method for solving Lasso problems", algorithms SSNAL and SSN).
3. Where columns depend on each other, by following the path from knot to knot (Osborne, Presnell,
   Turlach 2000, "A new approach to variable selection in least squares problems"), which always
   ends at the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_STAGES = 12
_SHARE = 0.25
_MOST_PRODUCTS = 4096
_STEPS = 8
_KNOTS = 16  # for each row or feature, of which there are fewer
_EXACT = 1e-9
_DEPENDENT = 1e-10
_UNTIED = 1e-9
_NOTHING = 1e-12
_ROUNDS = 12
_NEWTON_STEPS = 30
_HALVINGS = 20
# How far a round goes on towards its minimum, relative to |y|; the next one twice as far.
_NEAR = 0.1
# The augmentation at first, in units of a column's squared length, and its growth by rounds.
_AUGMENTED, _GROWTH = 10.0, 3.0


def lasso(design: Tensor, right: Tensor, penalty: float) -> Tensor:
    """The coefficients.

    Args:
        design: X, float64 of shape (rows, features).
        right: y, float64 of shape (rows,).
        penalty: On the sum of the coefficients' sizes, above zero.

    Returns:
        b, of shape (features,).
    """
    problem = _Problem.of(design, right)
    largest = float(problem.moments.abs().max()) if len(problem.moments) else 0.0
    if largest <= penalty:
        return torch.zeros_like(problem.moments)
    coefficients = _continued(problem, largest, penalty)
    if coefficients is not None and _settled(problem, penalty, coefficients):
        return coefficients
    coefficients = _Dual(problem, right, penalty).solved()
    return _follow(problem, penalty) if coefficients is None else coefficients


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What is to be minimised.

    Attributes:
        design: X.
        moments: X'y.
        products: X'X, where it is not too large to hold.
        scale: How much a coefficient counts beside its dual, when it is asked whether its feature
            belongs to the active ones: well below a column's squared length, or signs that are
            wrong flip to and fro instead of becoming zero.
    """

    design: Tensor
    moments: Tensor
    products: Tensor | None
    scale: float

    @classmethod
    def of(cls, design: Tensor, right: Tensor) -> Self:
        rows, features = design.shape
        few = features <= min(rows, _MOST_PRODUCTS)
        scale = _SHARE * float(design.square().sum(0).mean())
        return cls(design, design.T @ right, design.T @ design if few else None, scale)

    def among(self, active: Tensor) -> Tensor:
        """The products of some features' columns."""
        if self.products is not None:
            return self.products[active][:, active]
        columns = self.design[:, active]
        return columns.T @ columns

    def dual(self, coefficients: Tensor) -> Tensor:
        """What is left of the moments."""
        return self.moments - self.design.T @ (self.design @ coefficients)


def _continued(problem: _Problem, largest: float, penalty: float) -> Tensor | None:
    """Lets the penalty fall by stages; None where there are too many features at one."""
    rate = (penalty / largest) ** (1 / _STAGES)
    coefficients = torch.zeros_like(problem.moments)
    for stage in range(1, _STAGES + 1):
        level = penalty if stage == _STAGES else largest * rate**stage
        found = _active_set(problem, level, coefficients)
        if found is None:
            return None
        coefficients = found
    return coefficients


def _active_set(problem: _Problem, penalty: float, start: Tensor) -> Tensor | None:
    coefficients = start
    previous: Tensor | None = None
    for _ in range(_STEPS):
        both = problem.scale * coefficients + problem.dual(coefficients)
        signs = both.sign() * (both.abs() > penalty)
        if previous is not None and torch.equal(signs, previous):
            break
        previous = signs
        solved = _solve(problem, penalty, signs)
        if solved is None:
            return None
        coefficients = solved
    return coefficients


def _solve(problem: _Problem, penalty: float, signs: Tensor) -> Tensor | None:
    """The coefficients that have those signs, if they are right; None if there are too many."""
    active = signs.nonzero()[:, 0]
    if len(active) > len(problem.design):
        return None
    factor, failed = torch.linalg.cholesky_ex(problem.among(active))
    if failed:
        return None
    sides = (problem.moments[active] - penalty * signs[active])[:, None]
    coefficients = torch.zeros_like(problem.moments)
    coefficients[active] = torch.cholesky_solve(sides, factor)[:, 0]
    return coefficients


def _settled(problem: _Problem, penalty: float, coefficients: Tensor) -> bool:
    """Whether nothing is left to improve: the conditions of Karush, Kuhn and Tucker."""
    dual = problem.dual(coefficients)
    off = torch.where(
        coefficients == 0,
        (dual.abs() - penalty).clamp_min(0),
        (dual - penalty * coefficients.sign()).abs(),
    )
    return float(off.max()) <= _EXACT * float(problem.moments.abs().max())


class _Dual:
    """Newton's method on the augmented Lagrangian of the dual.

    That is to minimise |u|^2 / 2 + u'y where no element of X'u is beyond the penalty.

    Attributes:
        point: u, (rows,): in the end what X b leaves of y, with the sign reversed.
        coefficients: b, the multipliers.
    """

    __slots__ = ("_augmented", "_penalty", "_problem", "_right", "coefficients", "point")

    def __init__(self, problem: _Problem, right: Tensor, penalty: float) -> None:
        self._problem = problem
        self._right = right
        self._penalty = penalty
        self._augmented = _AUGMENTED * _SHARE / problem.scale
        self.coefficients = torch.zeros_like(problem.moments)
        self.point = -right

    def solved(self) -> Tensor | None:
        """The coefficients of the minimum; None if it is not found."""
        near = _NEAR * float(self._right.norm())
        for _ in range(_ROUNDS):
            self._minimise(near)
            # Once the signs are right, so are the coefficients.
            exact = _solve(self._problem, self._penalty, self.coefficients.sign())
            for found in (exact, self.coefficients):
                if found is not None and _settled(self._problem, self._penalty, found):
                    return found
            near /= 2
            self._augmented *= _GROWTH
        return None

    def _minimise(self, near: float) -> None:
        """Minimises the augmented Lagrangian, nearly, and moves the multipliers."""
        design = self._problem.design
        back = design.T @ self.point
        shrunk = self._shrunk(back)
        for _ in range(_NEWTON_STEPS):
            gradient = self.point + self._right - design @ shrunk
            if float(gradient.norm()) <= near:
                break
            step = self._step(gradient, shrunk)
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
        fitted = point.square().sum() / 2 + self._right @ point
        return float(fitted + shrunk.square().sum() / (2 * self._augmented))

    def _step(self, gradient: Tensor, shrunk: Tensor) -> Tensor:
        """Solves (1 + augmented X_A X_A') step = -gradient, A the features that are not zero."""
        columns = self._problem.design[:, shrunk.nonzero()[:, 0]]
        rows, active = columns.shape
        few = active <= rows
        matrix = columns.T @ columns if few else columns @ columns.T
        matrix.diagonal().add_(1 / self._augmented)
        side = (columns.T @ gradient if few else gradient / self._augmented)[:, None]
        solved = torch.cholesky_solve(side, torch.linalg.cholesky(matrix))[:, 0]
        return columns @ solved - gradient if few else -solved


def _follow(problem: _Problem, penalty: float) -> Tensor:
    """Goes along the path, on which the coefficients are linear in the penalty between knots.

    At a knot a feature joins, because its dual has reached the penalty, or leaves, because its
    coefficient has become zero. One that depends on those that are there takes the place of one.
    """
    design, moments = problem.design, problem.moments
    coefficients = torch.zeros_like(moments)
    # Ties would need knots with several events: there are none among slightly different numbers.
    dual = moments * (1 + _UNTIED * torch.linspace(0, 1, len(moments)).to(moments))
    level = float(dual.abs().max())
    active = [int(dual.abs().argmax())]
    for _ in range(_KNOTS * min(design.shape)):
        columns = design[:, active]
        signs = dual[active].sign()
        matrix = problem.among(torch.tensor(active, device=design.device))
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed or factor.diagonal().square().min() < _DEPENDENT * matrix.diagonal().max():
            _exchange(design, coefficients, active, float(signs[-1]))
            continue
        change = torch.cholesky_solve(signs[:, None], factor)[:, 0]
        slopes = design.T @ (columns @ change)
        zero = _ahead(-coefficients[active] / change, level)
        joins = torch.minimum(
            _ahead((level - dual) / (1 - slopes), level),
            _ahead((level + dual) / (1 + slopes), level),
        )
        joins[active] = torch.inf
        step = min(level - penalty, float(zero.min()), float(joins.min()))
        coefficients[active] += step * change
        dual = dual - step * slopes
        level -= step
        if level <= penalty * (1 + 1e-12):
            break
        if float(zero.min()) <= float(joins.min()):
            coefficients[active.pop(int(zero.argmin()))] = 0
        else:
            active.append(int(joins.argmin()))
    return coefficients


def _ahead(steps: Tensor, level: float) -> Tensor:
    """Those steps that lead on; one that has just left stands at no distance."""
    return torch.where(steps > _NOTHING * level, steps, torch.inf)


def _exchange(design: Tensor, coefficients: Tensor, active: list[int], sign: float) -> None:
    """Lets the last feature grow at the cost of those that it depends on, until one is zero.

    That one leaves; what is fitted stays the same.
    """
    new = active.pop()
    shares = torch.linalg.lstsq(design[:, active], design[:, [new]]).solution[:, 0] * sign
    room = coefficients[active] / shares
    room[~(room > 0)] = torch.inf
    place = int(room.argmin())
    if not room[place].isfinite():
        return
    gone = active[place]
    coefficients[active] -= room[place] * shares
    coefficients[gone] = 0
    coefficients[new] = room[place] * sign
    active[place] = new
