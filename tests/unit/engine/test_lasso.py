"""The lasso."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.lasso import lasso
from tests.models import numbers


def objective(x: Tensor, y: Tensor, penalty: float, b: Tensor) -> float:
    return float((y - x @ b).square().sum() / 2 + penalty * b.abs().sum())


def by_proximal_steps(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Slow and sure: gradient steps and soft thresholds (Daubechies et al. 2004)."""
    b = torch.zeros(x.shape[1], dtype=x.dtype)
    step = 1 / torch.linalg.matrix_norm(x, 2).square()
    for _ in range(6000):
        moved = b - step * (x.T @ (x @ b - y))
        b = moved.sign() * (moved.abs() - step * penalty).clamp_min(0)
    return b


@pytest.mark.parametrize("share", [0.9, 0.3, 0.03, 0.001])
@pytest.mark.parametrize(("rows", "features"), [(40, 6), (30, 20)])
def test_it_finds_the_minimum(rows: int, features: int, share: float) -> None:
    x, y = numbers(rows, features), numbers(rows, seed=1)
    penalty = share * float((x.T @ y).abs().max())
    torch.testing.assert_close(
        lasso(x, y, penalty), by_proximal_steps(x, y, penalty), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.5, 0.05, 0.005])
def test_nothing_is_left_to_improve_with_more_features_than_rows(seed: int, share: float) -> None:
    x = (numbers(20, 50, seed=seed) > 0).double()
    x, y = x - x.mean(0), numbers(20, seed=seed + 100)
    y = y - y.mean()
    penalty = share * float((x.T @ y).abs().max())
    b = lasso(x, y, penalty)
    dual = x.T @ (y - x @ b)
    assert float(dual.abs().max()) <= penalty * (1 + 1e-6)
    kept = b != 0
    torch.testing.assert_close(dual[kept], penalty * b[kept].sign(), rtol=1e-6, atol=1e-9)


def test_equal_columns_share_and_do_no_harm() -> None:
    x, y = numbers(12, 3), numbers(12, seed=1)
    twice = torch.cat([x, x], 1)
    penalty = 0.1 * float((x.T @ y).abs().max())
    assert objective(twice, y, penalty, lasso(twice, y, penalty)) == pytest.approx(
        objective(x, y, penalty, lasso(x, y, penalty)), rel=1e-9
    )


def test_a_penalty_above_all_moments_leaves_nothing() -> None:
    x, y = numbers(12, 3), numbers(12, seed=1)
    assert not lasso(x, y, 1.01 * float((x.T @ y).abs().max())).any()
