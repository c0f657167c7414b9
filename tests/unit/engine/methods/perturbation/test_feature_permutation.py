"""Feature permutation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adcaptum.engine import EveryOutput, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.perturbation.feature_permutation import FeaturePermutation
from adcaptum.engine.methods.perturbation.permutations import donors
from tests.models import mlp, numbers


def test_a_feature_is_worth_what_the_target_loses_with_that_of_another_example() -> None:
    model, x = mlp(), numbers(5, 8)
    targets = [0, 2, 1, 2, 0]
    answer = explain(model, FeaturePermutation(), Explicand.of(x, target=targets, seed=3))
    givers = donors(3, torch.arange(8), 5)
    with torch.no_grad():
        for feature in range(8):
            exchanged = x.clone()
            exchanged[:, feature] = x[givers[feature], feature]
            lost = (model(x) - model(exchanged))[range(5), targets]
            torch.testing.assert_close(answer.values[0][:, feature], lost)
    assert answer.output is not None
    torch.testing.assert_close(answer.output, model(x)[range(5), targets].detach())


def test_a_layer_is_permuted_too() -> None:
    model, x = mlp(), numbers(4, 8)
    mask = torch.arange(16)[None] // 4
    explicand = Explicand.of(x, target=1, at=Site("1"), feature_mask=mask, seed=9)
    method = FeaturePermutation()
    answer = explain(model, method, explicand)
    givers = donors(9, torch.arange(4), 4)
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        hidden = model[:2](x)
        exchanged = hidden.clone()
        exchanged[:, 4:8] = hidden[givers[1], 4:8]
        lost = (model[2:](hidden) - model[2:](exchanged))[:, 1]
    torch.testing.assert_close(answer.values[0][:, 4:8], lost[:, None].expand(-1, 4))
    assert answer.rows_used == method.rows(explicand) == 4 * (5 + 1)


def test_every_output_is_explained_at_once() -> None:
    model, x = mlp(), numbers(3, 8)
    every = explain(model, FeaturePermutation(), Explicand.of(x, target=EveryOutput(), seed=1))
    for output in range(3):
        one = explain(model, FeaturePermutation(), Explicand.of(x, target=output, seed=1))
        torch.testing.assert_close(every.values[0].view(3, 3, 8)[:, output], one.values[0])


def test_a_single_example_has_nobody_to_exchange_with() -> None:
    explicand = Explicand.of(numbers(1, 8), target=0)
    with pytest.raises(InvalidArgument, match="single example"):
        explain(mlp(), FeaturePermutation(), explicand)
    with pytest.raises(InvalidArgument, match="single example"):
        FeaturePermutation().rows(explicand)
