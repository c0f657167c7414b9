"""Exact Shapley values are the mean over all orders, and Captum's."""

from __future__ import annotations

import pytest
import torch
from captum import attr

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.shapley.shapley_values import ShapleyValues
from tests.games import Model, as_model, multiplicative, noise, shapley_by_orders, smooth
from tests.models import numbers, two_inputs


@pytest.mark.parametrize("players", [2, 5, 8])
@pytest.mark.parametrize("game", [smooth, multiplicative, noise])
def test_the_mean_over_all_orders(game: Model, players: int) -> None:
    worths = game(players, 0)
    explicand = Explicand.of(torch.ones(1, players, dtype=torch.float64))
    (values,) = explain(as_model(worths), ShapleyValues(), explicand).values
    torch.testing.assert_close(values[0], shapley_by_orders(worths), rtol=1e-11, atol=1e-12)


def test_captum_with_a_mask_over_two_inputs() -> None:
    inputs = (numbers(2, 4), numbers(2, 3, seed=1))
    baselines = (numbers(2, 4, seed=2), numbers(2, 3, seed=3))
    weight = torch.ones(2, dtype=torch.float64)
    masks = (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[2, 3, 0]]))
    explicand = Explicand.of(
        inputs,
        target=3,
        baselines=baselines,
        feature_mask=masks,
        additional_forward_args=(weight,),
    )
    ours = explain(two_inputs(), ShapleyValues(), explicand)
    theirs = attr.ShapleyValues(two_inputs()).attribute(
        inputs, baselines, target=3, feature_mask=masks, additional_forward_args=(weight,)
    )
    for left, right in zip(ours.values, theirs, strict=True):
        torch.testing.assert_close(left.float(), right, rtol=1e-5, atol=1e-6)
