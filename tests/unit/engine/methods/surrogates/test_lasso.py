"""The lasso."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adcaptum.engine.methods.surrogates import lasso as flows
from adcaptum.engine.vocabulary.flow import computed
from tests.models import numbers


def lasso(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    return computed(flows.lasso(x, y, penalty))


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


@pytest.mark.parametrize("share", [0.05, 0.001])
def test_with_many_more_features_than_rows_it_is_scikit_learns(share: float) -> None:
    g = torch.Generator().manual_seed(5)
    x = (torch.rand(60, 400, generator=g) < 0.5).double()
    y = torch.tanh(x @ numbers(400, seed=7) / 8) + 0.01 * numbers(60, seed=8)
    x, y = x - x.mean(0), y - y.mean()
    penalty = share * float((x.T @ y).abs().max())
    peer = Lasso(alpha=penalty / len(x), fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    peer.fit(x.numpy(), y.numpy())
    expected = torch.from_numpy(peer.coef_)
    torch.testing.assert_close(lasso(x, y, penalty), expected, rtol=1e-5, atol=1e-7)


def test_fewer_rows_than_features_take_few_solutions_of_linear_systems() -> None:
    x = (numbers(60, 400, seed=3) > 0).double()
    x = x - x.mean(0)
    y = torch.tanh(x @ numbers(400, seed=4) / 8)
    y = y - y.mean()
    systems: list[int] = []
    with Counted(systems):
        lasso(x, y, 1e-3 * float(y.norm()))
    # From knot to knot it takes a hundred at least.
    assert 0 < len(systems) < 90, len(systems)


class Counted(TorchDispatchMode):
    """Counts factorisations."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if "cholesky_ex" in str(func) or "linalg_cholesky" in str(func):
            self._seen.append(len(args[0]))
        return func(*args, **(kwargs or {}))
