"""What SmoothGrad hands on of the method that it wraps."""

from __future__ import annotations

import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve


def products(x: Tensor) -> Tensor:
    return torch.cumprod(torch.relu(x) + 1, 1)


def test_operations_without_a_rule_are_still_told_with_noise() -> None:
    method = resolve(METHODS["smooth_grad"], {"of": resolve(METHODS["deep_lift"], {})})
    answer = explain(products, method, Explicand.of(torch.rand(2, 4), target=1))
    assert answer.uncovered_ops == ("cumprod",)
