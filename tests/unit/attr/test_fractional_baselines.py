"""Fractions as baselines of whole-number inputs, under Captum's names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.futures import Future
from torch.utils.data import DataLoader

from adcaptum.attr import (
    DataLoaderAttribution,
    DeepLift,
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    LayerFeatureAblation,
    Lime,
    NeuronFeatureAblation,
    Occlusion,
    ShapleyValues,
    ShapleyValueSampling,
)
from adcaptum.attr.errors import UnfitModel
from adcaptum.attr.surrogates.linear_models import SkLearnLinearRegression

X = torch.tensor([[3, 4]])
RIGHT = torch.tensor([[2.3, 3.3]])


def total(x: Tensor) -> Tensor:
    return x.double().sum(1)


@pytest.mark.parametrize(
    ("kind", "further"),
    [
        (FeatureAblation, {}),
        (Occlusion, {"sliding_window_shapes": (1,)}),
        (KernelShap, {}),
        (ShapleyValues, {}),
        (ShapleyValueSampling, {}),
        (IntegratedGradients, {}),
    ],
)
def test_a_fraction_is_not_cut_off(kind: Any, further: dict[str, Any]) -> None:
    found = kind(total).attribute(X, baselines=0.7, **further)
    torch.testing.assert_close(found.float(), RIGHT)


def test_a_future_and_a_list_beside_the_examples_see_the_fraction() -> None:
    def later(x: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        answer.set_result(total(x))
        return answer

    found: Any = FeatureAblation(later).attribute_future(X, baselines=0.7).wait()
    torch.testing.assert_close(found.float(), RIGHT)
    inputs = (X, torch.tensor([5, 6, 7]))
    for kind in (FeatureAblation, ShapleyValues, ShapleyValueSampling):
        method: Any = kind(lambda x, other: total(x) + other.double().sum())
        rows, of_list = method.attribute(inputs, baselines=(0.7, torch.tensor(0.7)))
        torch.testing.assert_close(rows.float(), RIGHT)
        torch.testing.assert_close(of_list.float(), torch.tensor([15.9]))


class Layered(torch.nn.Module):
    """The sum of what a layer gives, as whole numbers or not."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.layer = torch.nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return total(self.layer(x if self.whole else x.float()))


def test_a_neuron_and_a_layer_see_the_fraction() -> None:
    model = Layered(whole=True)
    neuron: Any = NeuronFeatureAblation(model, model.layer)
    found = neuron.attribute(X, lambda t: t.double().sum(1), baselines=0.7)
    torch.testing.assert_close(found.float(), RIGHT)
    with pytest.raises(UnfitModel, match="floating-point"):
        LayerFeatureAblation(model, model.layer).attribute(X, layer_baselines=0.7)
    wide = Layered(whole=False)
    layer: Any = LayerFeatureAblation(wide, wide.layer)
    for baseline in (0.7, torch.tensor([0.7, 0.7], dtype=torch.float64)):
        torch.testing.assert_close(layer.attribute(X, layer_baselines=baseline), RIGHT)


def test_lime_and_its_own_perturbations_see_the_fraction() -> None:
    found: Any = Lime(total).attribute(X, baselines=0.7)
    # The lasso shrinks a little.
    torch.testing.assert_close(found.float(), RIGHT, rtol=0, atol=0.02)
    own: Any = Lime(total, interpretable_model=SkLearnLinearRegression())
    torch.testing.assert_close(
        own.attribute(X, baselines=0.7, n_samples=40).float(), RIGHT, rtol=1e-4, atol=1e-4
    )


def test_a_data_set_of_integers_is_ablated_to_the_fraction() -> None:
    rows: Any = [torch.tensor([3, 4]), torch.tensor([1, 2])]
    loader: DataLoader[Any] = DataLoader(rows, batch_size=1)
    explained = DataLoaderAttribution(FeatureAblation(total))
    found: Any = explained.attribute(loader, baselines=0.7, to_metric=torch.sum)
    torch.testing.assert_close(found.flatten().float(), torch.tensor([2.6, 4.6]))


def test_deep_lift_of_integers_compares_with_the_fraction() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    found = DeepLift(model).attribute(X, baselines=0.7)
    torch.testing.assert_close(found, RIGHT * model.weight.detach())
