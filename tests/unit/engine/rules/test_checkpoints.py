"""Models that recompute parts of themselves in backward are explained as those that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adcaptum.engine import METHODS, Attribution, Explicand, explain
from tests.models import numbers

METHODS_TESTED = ("deep_lift", "deep_lift_shap", "guided_backprop", "deconvolution", "lrp")


class _Blocks(nn.Module):
    """Attention, a normalisation and two ReLUs; with checkpoints or without."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.query, self.key, self.last = (nn.Linear(8, 8) for _ in range(3))
            self.norm = nn.LayerNorm(8)
        self._kwargs = kwargs
        self.double().eval()

    def attend(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).mT, -1)
        return self.norm(x + weights @ x).relu()

    def forward(self, x: Tensor) -> Tensor:
        x = self.attend(x) if not self._kwargs else checkpoint(self.attend, x, **self._kwargs)
        x = self.attend(x) if not self._kwargs else checkpoint(self.attend, x, **self._kwargs)
        return self.last(x).relu_().mean(1)


def explained(model: Callable[..., Tensor], method: str) -> Attribution:
    question = Explicand.of(numbers(3, 4, 8), target=1)
    if method.startswith("deep_lift"):
        question = Explicand.of(numbers(3, 4, 8), target=1, baselines=numbers(2, 4, 8, seed=1)[:1])
    return explain(model, METHODS[method](), question)


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_a_checkpoint_changes_nothing(method: str) -> None:
    expected = explained(_Blocks(), method)
    answer = explained(_Blocks(use_reentrant=False), method)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-12, atol=1e-12)
    assert answer.uncovered_ops == expected.uncovered_ops


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_a_tensor_overwritten_in_a_checkpoint_is_an_error_as_ever(method: str) -> None:
    def overwrites(x: Tensor) -> Tensor:
        h = x * 2
        y = h.sort(1).values * h.cumprod(1)
        h += 1
        return y

    def model(x: Tensor) -> Tensor:
        made: Tensor = checkpoint(overwrites, x, use_reentrant=False)
        return made.sum(1)

    with pytest.raises(RuntimeError, match="modified by an in"):
        explained(model, method)
