"""The lasso, solved to the end: which coefficients are zero is found, the others follow exactly.

Minimises |y - X b|^2 / 2 + penalty |b|_1. Where the set of non-zero coefficients and their signs
are known, the rest is a linear system. They are found by a primal-dual active set along a path of
falling penalties (Fan, Jiao, Lu 2014, "A primal dual active set algorithm with continuation for
compressed sensing", algorithm 2), which takes few steps whatever the number of features; and where
that does not settle by following the path from knot to knot (Osborne, Presnell, Turlach 2000, "A
new approach to variable selection in least squares problems"), which always does.
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
    return _follow(problem, penalty)


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
        few = design.shape[1] <= _MOST_PRODUCTS
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
