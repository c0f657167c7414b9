"""DeepLIFT on large tensors, where no gradients of reference rows are computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Attribution, Explicand, explain
from adcaptum.engine.rules import interception
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

_SHAPE = (24, 512)


class _Block(nn.Module):
    """Attention and a layer with each kind of function, from (rows, 24, 512)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.wide = (nn.Linear(512, 512) for _ in range(3))
        self.norm, self.last = nn.LayerNorm(512), nn.Linear(512, 2)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).mT / 8, -1)
        x = self.norm(x + weights @ x)
        x = torch.relu(self.wide(x)) * torch.nn.functional.gelu(x)
        return self.last(x).mean(1)


def _explained(baselines: str) -> Attribution:
    x, x0 = numbers(4, *_SHAPE), numbers(4, *_SHAPE, seed=1)
    # Equal in part, and nearly equal in part.
    x0[:, 0], x0[:, 1] = x[0, 0], x[:, 1] + 1e-10
    chosen = {"one for all": x0[:1], "each its own": x0, "some shared": x0[[1, 0, 0, 2]]}
    question = Explicand.of(x, baselines=chosen[baselines], target=[0, 1, 1, 0])
    return explain(_Block().double().eval(), resolve(METHODS["deep_lift"], {}), question)


@pytest.mark.parametrize("baselines", ["one for all", "each its own", "some shared"])
def test_large_tensors_have_the_multipliers_of_small_ones(
    baselines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = _explained(baselines)
    monkeypatch.setattr(interception, "_LARGE", 1 << 40)
    small = _explained(baselines)
    torch.testing.assert_close(large.values[0], small.values[0], rtol=1e-9, atol=1e-12)
    assert large.completeness_error is not None
    assert large.completeness_error.max() < 1e-9
    assert large.uncovered_ops == ()
