"""The path of the lasso's coefficients over the penalty, from knot to knot.

Osborne, Presnell, Turlach (2000), "A new approach to variable selection in least squares problems".
"""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine.methods.surrogates.lasso_problem import LassoProblem
from adcaptum.engine.vocabulary.flow import Flow

_KNOTS = 16  # for each row or feature, of which there are fewer
_DEPENDENT = 1e-10
_UNTIED = 1e-9
_NOTHING = 1e-12


def followed(problem: LassoProblem, penalty: float) -> Flow[Tensor]:
    """Goes along the path, on which the coefficients are linear in the penalty between knots.

    At a knot a feature joins, because its dual has reached the penalty, or leaves, because its
    coefficient has become zero. One that depends on those that are there takes the place of one.
    """
    design, moments = problem.design, problem.moments
    coefficients = torch.zeros_like(moments)
    # Slightly different numbers have no ties, which would need knots with several events.
    dual = moments * (1 + _UNTIED * torch.linspace(0, 1, len(moments)).to(moments))
    level = float(dual.abs().max())
    active = [int(dual.abs().argmax())]
    for _ in range(_KNOTS * min(design.shape)):
        yield from problem.pauses.before(
            problem.factorisation(len(active)) + design.numel() + len(design) * len(active)
        )
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
    """Those steps that lead on; a feature that has just left stands at no distance."""
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
