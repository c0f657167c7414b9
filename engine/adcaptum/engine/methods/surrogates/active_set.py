"""The primal-dual active set method for the lasso."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.lasso_problem import LassoProblem
from adcaptum.engine.vocabulary.flow import Flow

_STAGES = 12
_STEPS = 8


def least_squares_start(problem: LassoProblem, penalty: float) -> Flow[Tensor | None]:
    """Solves from the coefficients without a penalty.

    With more rows than features and a small penalty nearly all features stay, and a few
    factorisations find those that do not. None where columns depend on each other.
    """
    assert problem.products is not None, "there are more rows than features"
    there = (problem.products.diagonal() > 0).to(problem.moments)
    start = yield from problem.solve(0.0, there)
    return None if start is None else (yield from _active_set(problem, penalty, start))


def falling_penalties(problem: LassoProblem, penalty: float) -> Flow[Tensor | None]:
    """Solves along a path of falling penalties; None where too many features come in at one.

    Fan, Jiao, Lu (2014), "A primal dual active set algorithm with continuation for compressed
    sensing", algorithm 2.
    """
    largest = float(problem.moments.abs().max())
    rate = (penalty / largest) ** (1 / _STAGES)
    coefficients = torch.zeros_like(problem.moments)
    for stage in range(1, _STAGES + 1):
        level = penalty if stage == _STAGES else largest * rate**stage
        found = yield from _active_set(problem, level, coefficients)
        if found is None:
            return None
        coefficients = found
    return coefficients


def _active_set(problem: LassoProblem, penalty: float, start: Tensor) -> Flow[Tensor | None]:
    """Solves for the signs that coefficients and duals suggest, until they stay the same."""
    coefficients = start
    previous: Tensor | None = None
    scale = problem.scale
    for _ in range(_STEPS):
        suggested = scale * coefficients + problem.dual(coefficients)
        signs = suggested.sign() * (suggested.abs() > penalty)
        if previous is not None and torch.equal(signs, previous):
            break
        previous = signs
        solved = yield from problem.solve(penalty, signs)
        if solved is None:
            return None
        coefficients = solved
    return coefficients
