"""Feature ablation gives Captum's numbers."""

from __future__ import annotations

import pytest
import torch
from captum import attr
from torch import Tensor

from adcaptum.engine import Explicand, Site, explain
from adcaptum.engine.methods.perturbation.feature_ablation import FeatureAblation
from tests.models import cnn, mlp, numbers, two_inputs

MASKS = {
    "none": None,
    "columns": torch.arange(8).view(1, 1, 1, 8) // 2,
    "scattered": torch.tensor([3, 11, 7, 11]).repeat(16).view(1, 1, 8, 8),
}


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("target", [1, [0, 2, 1]])
def test_vectors(target: int | list[int]) -> None:
    x, x0 = numbers(3, 8), numbers(3, 8, seed=1)
    ours = explain(mlp(), FeatureAblation(), Explicand.of(x, target=target, baselines=x0))
    assert_same(ours.values[0], attr.FeatureAblation(mlp()).attribute(x, x0, target=target))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_images_with_masks(mask: Tensor | None) -> None:
    x = numbers(2, 1, 8, 8)
    explicand = Explicand.of(x, target=0, baselines=0.5, feature_mask=mask)
    ours = explain(cnn(), FeatureAblation(), explicand)
    theirs = attr.FeatureAblation(cnn()).attribute(x, 0.5, target=0, feature_mask=mask)
    assert_same(ours.values[0], theirs)


def test_a_mask_over_two_inputs() -> None:
    inputs = (numbers(2, 4), numbers(2, 3, seed=1))
    weight = numbers(2, seed=2).abs()
    masks = (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[2, 3, 0]]))
    explicand = Explicand.of(
        inputs, target=3, feature_mask=masks, additional_forward_args=(weight, 2.0)
    )
    ours = explain(two_inputs(), FeatureAblation(), explicand)
    theirs = attr.FeatureAblation(two_inputs()).attribute(
        inputs, target=3, feature_mask=masks, additional_forward_args=(weight, 2.0)
    )
    for left, right in zip(ours.values, theirs, strict=True):
        assert_same(left, right)


def test_layers() -> None:
    model, x = mlp(), numbers(2, 8)
    layer = model.get_submodule("1")
    mask = torch.arange(16)[None] // 3
    explicand = Explicand.of(x, target=1, at=Site("1"), feature_mask=mask)
    ours = explain(model, FeatureAblation(), explicand)
    with torch.no_grad():
        hidden0 = torch.tanh(model.get_submodule("0")(torch.zeros(1, 8, dtype=x.dtype)))
    theirs = attr.LayerFeatureAblation(model, layer).attribute(
        x, hidden0, target=1, layer_mask=mask
    )
    assert_same(ours.values[0], theirs)
