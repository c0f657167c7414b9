"""The lasso, solved exactly: the nonzero coefficients follow from the set of zero ones.

Where the set of non-zero coefficients and their signs are known, the rest is a linear system. They
are found in one of these ways, the cheapest first; each is checked, and may fail:
1. Without a penalty first, where there are no fewer rows than features (`least_squares_start`).
2. Along falling penalties, which takes few steps whatever the number of features
   (`falling_penalties`).
3. By Newton's method on the dual, whose unknowns are the rows (`DualNewton`).
4. Along the path from knot to knot, which ends at the minimum also where columns depend on each
   other (`followed`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.active_set import falling_penalties, least_squares_start
from adcaptum.engine.methods.surrogates.dual_newton import DualNewton
from adcaptum.engine.methods.surrogates.lasso_path import followed
from adcaptum.engine.methods.surrogates.lasso_problem import LassoProblem
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.pauses import Pauses


def lasso(
    design: Tensor, right: Tensor, penalty: float, *, products: Tensor | None = None
) -> Flow[Tensor]:
    """Solves for the coefficients.

    Args:
        design: X, float64 of shape (rows, features).
        right: y, float64 of shape (rows,).
        penalty: On the sum of the coefficients' sizes, above zero.
        products: X'X, if it is known and there are no fewer rows than features.

    Returns:
        b, of shape (features,).
    """
    rows, features = design.shape
    pauses = Pauses()
    if products is None and features <= rows:
        yield from pauses.before(rows * features**2)
        products = design.T @ design
    problem = LassoProblem(design, right, design.T @ right, products, pauses)
    largest = float(problem.moments.abs().max()) if features else 0.0
    if largest <= penalty:
        return torch.zeros_like(problem.moments)
    first = () if problem.products is None else (least_squares_start,)
    for attempt in (*first, falling_penalties):
        coefficients = yield from attempt(problem, penalty)
        if coefficients is not None and problem.settled(penalty, coefficients):
            return coefficients
    if rows > features:
        # An equivalent problem with as many rows as features.
        yield from pauses.before(4 * rows * features**2)
        basis, triangle = torch.linalg.qr(design)
        problem = replace(problem, design=triangle, right=basis.T @ right)
    coefficients = yield from DualNewton(problem, penalty).solved()
    if coefficients is None:
        coefficients = yield from followed(problem, penalty)
    return coefficients
