"""Differences from Captum that its own tests of the classes show, each as the table states it."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr

# Captum sets requires_grad, and says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*required_grads:UserWarning", "ignore:Setting:UserWarning"
)
NUMBER: Any = 0.0


class Probabilities(nn.Module):
    """A softmax of logits of 1e6."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(1e6 * x)


class Reused(nn.Module):
    """A linear layer and a ReLU that are called twice each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.relu, self.out = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.linear(self.relu(self.linear(x)))))


def squashed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 2)).eval()


def test_deep_lift_of_a_softmax_at_equal_large_logits_has_its_slope() -> None:
    x, baseline = torch.ones(1, 2), torch.zeros(1, 2)
    theirs: Any = captum.attr.DeepLift(Probabilities()).attribute(x, baseline, target=0)
    assert theirs.tolist() == [[0, 0]]
    ours: Any = attr.DeepLift(Probabilities()).attribute(x, baseline, target=0)
    path = attr.IntegratedGradients(Probabilities()).attribute(x, baseline, target=0)
    torch.testing.assert_close(ours, torch.tensor([[250_000.0, -250_000.0]]))
    torch.testing.assert_close(ours, path)


def test_lrp_of_a_module_that_is_called_twice() -> None:
    x = torch.rand(1, 3)
    with pytest.raises(RuntimeError, match="more than once"):
        captum.attr.LRP(Reused()).attribute(x, target=0)
    model = Reused()
    for layer in (model.linear, model.out):
        nn.init.zeros_(layer.bias)
    relevance: Any = attr.LRP(model).attribute(x, target=0)
    torch.testing.assert_close(relevance.sum(), model(x)[0, 0], atol=1e-4, rtol=1e-3)


def test_lrp_passes_a_sigmoid() -> None:
    x = torch.rand(1, 3)
    with pytest.raises(TypeError, match="no rule"):
        captum.attr.LRP(squashed()).attribute(x, target=0)
    relevance: Any = attr.LRP(squashed()).attribute(x, target=0)
    assert relevance.isfinite().all()
    assert relevance.abs().sum() > 0


def test_deep_lift_shap_takes_a_number_as_its_baseline() -> None:
    x = torch.rand(1, 3)
    with pytest.raises(AssertionError, match=r"torch\.Tensor"):
        captum.attr.DeepLiftShap(squashed()).attribute(x, baselines=NUMBER, target=0)
    ours: Any = attr.DeepLiftShap(squashed()).attribute(x, baselines=NUMBER, target=0)
    one = attr.DeepLift(squashed()).attribute(x, baselines=NUMBER, target=0)
    torch.testing.assert_close(ours, one)
