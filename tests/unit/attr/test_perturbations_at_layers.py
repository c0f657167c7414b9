"""Ablation and permutation at layers and for neurons, against Captum and their definitions."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn

from adcaptum.attr import LayerFeatureAblation, LayerFeaturePermutation, NeuronFeatureAblation
from tests.captum_oracle import assert_captums, assert_same, captums, ours
from tests.models import mlp, numbers, text_classifier


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 5


LAYERED = basic.BasicModel_MultiLayer()
THREE = rows(3, 3)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["linear0", "linear1", "relu", "linear2"])
@pytest.mark.parametrize("target", [0, (1,), None])
@pytest.mark.parametrize("per_eval", [1, 3])
def test_layers_are_ablated_as_captum_does(
    layer: str, target: Any, per_eval: int, *, of_input: bool
) -> None:
    assert_captums(
        "LayerFeatureAblation",
        (LAYERED, getattr(LAYERED, layer)),
        THREE,
        target=target,
        attribute_to_layer_input=of_input,
        perturbations_per_eval=per_eval,
    )


@pytest.mark.parametrize("target", [[0, 1, 1], torch.tensor([1, 0, 1])])
def test_a_target_for_each_example_goes_with_several_perturbations_at_once(target: Any) -> None:
    """Captum's quirk 23: it raises here, and is right with one at once."""
    construct = (LAYERED, LAYERED.linear1)
    expected = captums("LayerFeatureAblation", construct, THREE, target=target)
    for per_eval in (1, 2, 100):
        answer = ours(
            "LayerFeatureAblation",
            construct,
            THREE,
            target=target,
            perturbations_per_eval=per_eval,
        )
        assert_same(answer, expected)
    with pytest.raises(AssertionError):
        captums("LayerFeatureAblation", construct, THREE, target=target, perturbations_per_eval=2)


@pytest.mark.parametrize("baselines", [0.5, rows(1, 4), rows(3, 4, seed=1)])
@pytest.mark.parametrize("mask", [None, torch.tensor([[0, 1, 1, 5]]), torch.tensor([3, 3, 0, 0])])
def test_baselines_and_masks_are_those_of_the_layer(baselines: Any, mask: Any) -> None:
    assert_captums(
        "LayerFeatureAblation",
        (LAYERED, LAYERED.linear1),
        THREE,
        baselines,
        target=1,
        layer_mask=mask,
    )


def test_a_layer_of_several_tensors_is_ablated_as_captum_does() -> None:
    model = basic.BasicModel_MultiLayer(multi_input_module=True)
    layer = model.multi_relu
    for baselines in (None, (0.5, 1.0)):
        for mask in (None, (torch.tensor([[0, 1, 1, 2]]), torch.tensor([[2, 2, 3, 4]]))):
            assert_captums(
                "LayerFeatureAblation", (model, layer), THREE, baselines, 0, layer_mask=mask
            )


def test_images_are_ablated_channel_by_channel_as_captum_does() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = basic.BasicModel_ConvNet_One_Conv().eval()
    mask = torch.arange(2).view(1, 2, 1, 1)
    assert_captums(
        "LayerFeatureAblation",
        (model, model.conv1),
        rows(2, 1, 4, 4),
        target=1,
        layer_mask=mask,
        tolerance=2e-5,
    )


def test_a_layer_of_a_forward_that_answers_for_the_batch_is_ablated() -> None:
    def forward(x: Tensor) -> Tensor:
        return LAYERED(x).square().sum()

    assert_captums("LayerFeatureAblation", (forward, LAYERED.linear1), THREE)


@pytest.mark.parametrize("selector", [0, (2,), slice(0, 2), lambda t: t[:, :2].sum(1)])
@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("per_eval", [1, 2])
def test_neurons_are_ablated_as_captum_does(
    selector: Any, per_eval: int, *, of_input: bool
) -> None:
    selector = (selector,) if isinstance(selector, slice) else selector
    assert_captums(
        "NeuronFeatureAblation",
        (LAYERED, LAYERED.linear1),
        THREE,
        selector,
        0.5,
        feature_mask=torch.tensor([[0, 1, 1]]),
        attribute_to_neuron_input=of_input,
        perturbations_per_eval=per_eval,
    )


def test_neurons_of_several_inputs_are_ablated_as_captum_does() -> None:
    model = basic.BasicModel_MultiLayer_MultiInput()
    assert_captums(
        "NeuronFeatureAblation",
        (model, model.model.linear1),
        (THREE, rows(3, 3, seed=1)),
        3,
        additional_forward_args=(rows(3, 3, seed=2), 5),
    )


def test_neurons_of_a_forward_of_one_batch_size_are_ablated() -> None:
    def loss(x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(LAYERED(x), torch.tensor([0, 1, 1]))

    assert_captums("NeuronFeatureAblation", (loss, LAYERED.linear1), THREE, 2)


def test_a_neuron_that_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        NeuronFeatureAblation(LAYERED, LAYERED.linear1).attribute(THREE, 9)


def test_permutation_at_a_layer_is_that_of_what_the_layer_gives() -> None:
    """Captum's quirk 23: it raises for any target."""
    model, x = mlp(), numbers(4, 8)
    assert isinstance(model, nn.Sequential)
    mask = torch.arange(16)[None] // 8

    def swapped(t: Tensor, feature: Tensor) -> Tensor:
        return torch.where(feature, t.flip(0), t)

    attribution = LayerFeaturePermutation(model, model[1])
    attribution.perm_func = swapped
    answer = attribution.attribute(x, target=[0, 1, 2, 0], layer_mask=mask)
    with torch.no_grad():
        hidden = model[:2](x)
        for half in (slice(0, 8), slice(8, 16)):
            exchanged = hidden.clone()
            exchanged[:, half] = hidden.flip(0)[:, half]
            lost = (model[2:](hidden) - model[2:](exchanged))[range(4), [0, 1, 2, 0]]
            assert isinstance(answer, Tensor)
            torch.testing.assert_close(answer[:, half], lost[:, None].expand(-1, 8))
    with pytest.raises(AssertionError):
        captums("LayerFeaturePermutation", (model, model[1]), x, target=0)


@pytest.mark.parametrize("per_eval", [1, 3])
def test_permutation_at_a_layer_is_repeatable_and_has_captums_form(per_eval: int) -> None:
    def run() -> Any:
        torch.manual_seed(3)
        return ours(
            "LayerFeaturePermutation",
            (LAYERED, LAYERED.linear1),
            THREE,
            perturbations_per_eval=per_eval,
        )

    first = run()
    theirs = captums("LayerFeaturePermutation", (LAYERED, LAYERED.linear1), THREE)
    assert first.shape == theirs.shape == (6, 4)
    assert_same(run(), first)


def test_a_single_example_at_a_layer_has_zeros(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = LayerFeaturePermutation(LAYERED, LAYERED.linear1).attribute(THREE[:1], target=0)
    assert isinstance(answer, Tensor)
    assert answer.shape == (1, 4)
    assert not answer.any()
    assert "single example" in caplog.text


def test_embeddings_of_a_recurrent_model_are_ablated_token_by_token() -> None:
    model = text_classifier()
    ids = torch.tensor([[3, 1, 4], [5, 9, 2]])
    mask = torch.ones(2, 3)
    answer = LayerFeatureAblation(model, model.get_submodule("embedding")).attribute(
        ids,
        target=[1, 0],
        additional_forward_args=mask,
        layer_mask=torch.arange(3).view(1, 3, 1),
    )
    assert isinstance(answer, Tensor)
    assert answer.shape == (2, 3, 6)
    assert torch.equal(answer, answer[:, :, :1].expand_as(answer))


@pytest.mark.parametrize(
    "wrong",
    [
        {"layer_baselines": (0, 1)},
        {"layer_baselines": "zero"},
        {"layer_baselines": rows(2, 7)},
        {"layer_mask": torch.full((1, 4), 0.5)},
        {"layer_mask": (torch.zeros(1, 4).long(), torch.zeros(1, 4).long())},
        {"layer_mask": torch.zeros(1, 5).long()},
        {"perturbations_per_eval": 0},
    ],
    ids=str,
)
def test_what_does_not_fit_the_layer_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        LayerFeatureAblation(LAYERED, LAYERED.linear1).attribute(THREE, target=0, **wrong)
