"""How the tests ask for relevance, and compare it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adcaptum.engine import Attribution, Explicand, explain
from adcaptum.engine.methods.backward_rules.lrp import LRP
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP

IMAGES, VECTORS, TIMES = (3, 3, 16, 16), (3, 8), (3, 5, 8)


def relevance(model: nn.Module, x: Tensor, method: LRP | CompositeLRP | None = None) -> Attribution:
    method = LRP(composite="epsilon") if method is None else method
    return explain(model, method, Explicand.of(x, target=[i % 3 for i in range(len(x))]))


def assert_equal(a: Attribution, b: Attribution, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a.values[0], b.values[0], rtol=tolerance, atol=tolerance)
