"""The kernels of LIME."""

from __future__ import annotations

from math import exp

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from adcaptum.engine import Explicand
from adcaptum.engine.games.features import Features
from adcaptum.engine.methods.surrogates.bernoulli import Bernoulli
from adcaptum.engine.methods.surrogates.similarity import Distance, ExponentialKernel
from tests.models import numbers


def by_definition(x: Tensor, perturbed: Tensor, distance: Distance, width: float) -> float:
    if distance == "cosine":
        d = 1 - float(cosine_similarity(x.flatten(), perturbed.flatten(), dim=0))
    else:
        d = float((x - perturbed).norm())
    return exp(-(d**2) / (2 * width**2))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("with_baseline", [False, True])
def test_it_is_the_kernel_of_the_perturbed_example(
    distance: Distance, *, with_baseline: bool
) -> None:
    x = (numbers(2, 4), numbers(2, 3, seed=1))
    x0 = tuple(numbers(*t.shape, seed=9) * with_baseline for t in x)
    mask = (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[2, 3, 3]]))
    features = Features.of(Explicand.of(x, feature_mask=mask), x)
    coalitions = Bernoulli(4, 20, seed=2).take(0, 20, torch.device("cpu"))
    kernel = ExponentialKernel(distance, 0.7)
    weights = kernel.weights(x, x0, features, coalitions)
    for e in range(2):
        for i, coalition in enumerate(coalitions):
            parts = [
                torch.where(coalition[ids[0]], t[e], t0[e])
                for ids, t, t0 in zip(mask, x, x0, strict=True)
            ]
            expected = by_definition(torch.cat([t[e] for t in x]), torch.cat(parts), distance, 0.7)
            assert float(weights[e, i]) == pytest.approx(expected, rel=1e-9)


def test_nothing_present_over_zeros_is_at_a_right_angle() -> None:
    x = (numbers(1, 3),)
    features = Features.of(Explicand.of(x), x)
    empty = torch.zeros(1, 3, dtype=torch.bool)
    weights = ExponentialKernel("cosine", 1.0).weights(
        x, (torch.zeros(1, 3).double(),), features, empty
    )
    assert float(weights) == pytest.approx(exp(-0.5))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("width", [1e200, 1e308])
def test_everything_is_near_at_the_largest_widths(distance: Distance, width: float) -> None:
    x = (numbers(1, 3),)
    features = Features.of(Explicand.of(x), x)
    coalitions = torch.eye(3, dtype=torch.bool)
    weights = ExponentialKernel(distance, width).weights(
        x, (torch.zeros(1, 3).double(),), features, coalitions
    )
    assert weights.tolist() == [[1.0, 1.0, 1.0]]


def test_coin_flips_do_not_depend_on_how_they_are_cut() -> None:
    cpu = torch.device("cpu")
    flips = Bernoulli(130, 40, seed=4)
    whole = flips.take(0, 40, cpu)
    assert torch.equal(torch.cat([flips.take(0, 7, cpu), flips.take(7, 40, cpu)]), whole)
    assert torch.equal(Bernoulli(130, 33, seed=4, first=7).take(0, 33, cpu), whole[7:])
    many = Bernoulli(130, 4000, seed=4).take(0, 4000, cpu).double()
    assert (many.mean(0) - 0.5).abs().max() < 0.04  # five standard deviations
    apart = (many - 0.5).T @ (many - 0.5) / 4000 - torch.eye(130) / 4
    assert apart.abs().max() < 0.025
