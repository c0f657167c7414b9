"""Relevance propagation against zennit's, rule by rule and composite by composite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.backward_rules.lrp import LRP
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP
from adcaptum.engine.rules.lrp.affine_rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    LayerRule,
    Norm,
    WSquare,
    ZBox,
    ZPlus,
)
from adcaptum.engine.rules.lrp.composites import Composite, CompositeName
from tests import zennit_oracle
from tests.models import numbers
from tests.relevance_models import seeded, vgg

EPSILON = 1e-6
TARGETS = [0, 1, 2]
RULES: dict[str, tuple[LayerRule, Any]] = {
    "epsilon": (Epsilon(0.1), zennit_oracle.rules.Epsilon(0.1)),
    "epsilon without bias": (
        Epsilon(0.1, bias="ignore"),
        zennit_oracle.rules.Epsilon(0.1, zero_params="bias"),
    ),
    "norm": (Norm(), zennit_oracle.rules.Norm(1e-15)),
    "gamma": (Gamma(0.3, EPSILON), zennit_oracle.rules.Gamma(0.3, EPSILON)),
    "z plus": (ZPlus(EPSILON), zennit_oracle.rules.ZPlus(EPSILON)),
    "alpha 2 beta 1": (AlphaBeta(2, 1, EPSILON), zennit_oracle.rules.AlphaBeta(2, 1, EPSILON)),
    "z box": (ZBox(-4.0, 5.0, EPSILON), zennit_oracle.rules.ZBox(-4.0, 5.0, EPSILON)),
    "w square": (WSquare(EPSILON), zennit_oracle.rules.WSquare(EPSILON, zero_params="bias")),
    "flat": (Flat(EPSILON), zennit_oracle.rules.Flat(EPSILON)),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_for_every_layer_is_zennits(name: str) -> None:
    ours, theirs = RULES[name]
    model, x = seeded(vgg), numbers(3, 3, 16, 16)
    pools: list[Any] = [(nn.AvgPool2d, zennit_oracle.rules.Norm(1e-15))]
    layers = [((nn.Conv2d, nn.Linear), theirs)]
    passing = [((nn.ReLU,), zennit_oracle.rules.Pass())]
    composite = zennit_oracle.composites.LayerMapComposite(pools + layers + passing)
    expected = zennit_oracle.relevance(model, composite, x, TARGETS)
    method = CompositeLRP(Composite(default=ours), "one")
    answer = explain(model, method, Explicand.of(x, target=TARGETS))
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "epsilon_plus",
        "epsilon_plus_flat",
        "epsilon_gamma_box",
        "epsilon_alpha2_beta1",
        "epsilon_alpha2_beta1_flat",
    ],
)
def test_a_composite_is_zennits_of_that_name(name: CompositeName) -> None:
    model, x = seeded(vgg), numbers(3, 3, 16, 16)
    bounds = {"low": -4.0, "high": 5.0} if "box" in name else {}
    composite = zennit_oracle.composites.COMPOSITES[name](
        epsilon=EPSILON, stabilizer=EPSILON, **bounds
    )
    expected = zennit_oracle.relevance(model, composite, x, TARGETS)
    method = LRP(composite=name, epsilon=EPSILON, low=-4.0, high=5.0, start="one")
    answer = explain(model, method, Explicand.of(x, target=TARGETS))
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-12)
