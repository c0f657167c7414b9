"""DeepLIFT, guided backpropagation and their kin under Captum's names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import captum.attr as captum
import pytest
import torch
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn
from torch.nn import functional

import adcaptum.attr as ours
from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.errors import UncoveredOperations


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make: Callable[[], nn.Sequential]) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double().eval()


def convolutions() -> nn.Sequential:
    # No pool beside a ReLU: there Captum's DeepLIFT is wrong (B5).
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 2 * 2, 3),
    )


def layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 3)
    )


CNN, MLP = seeded(convolutions), seeded(layers)
IMAGES, VECTORS = rows(3, 1, 8, 8), rows(3, 5)
MODELS = [
    pytest.param((CNN, CNN[4], IMAGES, (1, 1, 0)), id="cnn"),
    pytest.param((MLP, MLP[2], VECTORS, (4,)), id="mlp"),
]
Case = tuple[nn.Module, nn.Module, Tensor, tuple[int, ...]]
TARGETS = [1, [0, 2, 1], torch.tensor([2, 2, 0])]


def theirs(attribution: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return attribution.attribute(*args, **kwargs)


def close(mine: Any, other: Any) -> None:
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("target", TARGETS, ids=["int", "list", "tensor"])
@pytest.mark.parametrize("name", ["GuidedBackprop", "Deconvolution"])
def test_rectified_gradients_are_captums(case: Case, target: Any, name: str) -> None:
    model, _, x, _ = case
    if model is MLP:
        with pytest.warns(UserWarning, match="tanh"):
            mine = getattr(ours, name)(model).attribute(x, target)
    else:
        mine = getattr(ours, name)(model).attribute(x, target)
    close(mine, theirs(getattr(captum, name)(model), x, target))


@pytest.mark.parametrize("name", ["NeuronGuidedBackprop", "NeuronDeconvolution"])
@pytest.mark.parametrize("of_input", [False, True])
def test_rectified_gradients_of_neurons_are_captums(name: str, of_input: bool) -> None:
    neuron = (1, 1, 0)
    mine = getattr(ours, name)(CNN, CNN[4]).attribute(
        IMAGES, neuron, attribute_to_neuron_input=of_input
    )
    expected = theirs(
        getattr(captum, name)(CNN, CNN[4]), IMAGES, neuron, attribute_to_neuron_input=of_input
    )
    close(mine, expected)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("of_input", [False, True])
def test_guided_grad_cam_is_captums(mode: str, of_input: bool) -> None:
    arguments: dict[str, Any] = {
        "interpolate_mode": mode,
        "attribute_to_layer_input": of_input,
    }
    mine = ours.GuidedGradCam(CNN, CNN[4]).attribute(IMAGES, 1, **arguments)
    close(mine, theirs(captum.GuidedGradCam(CNN, CNN[4]), IMAGES, 1, **arguments))


def test_guided_grad_cam_is_empty_where_the_map_cannot_be_enlarged() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with pytest.warns(UserWarning, match="cannot be enlarged"):
        values = ours.GuidedGradCam(model, model[1]).attribute(VECTORS, 1)
    assert isinstance(values, Tensor)
    assert values.numel() == 0


def test_a_functional_relu_is_guided_too() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([CNN[0], CNN[2], CNN[4], CNN[7]])

        def forward(self, x: Tensor) -> Tensor:
            hidden = functional.max_pool2d(self.parts[1](functional.relu(self.parts[0](x))), 2)
            return self.parts[3](self.parts[2](hidden).relu_().flatten(1))

    mine = ours.GuidedBackprop(Functional().eval()).attribute(IMAGES, 1)
    close(mine, ours.GuidedBackprop(CNN).attribute(IMAGES, 1))
    # Captum sees no module to override, and gives the plain gradient.
    with pytest.raises(AssertionError):
        close(mine, theirs(captum.GuidedBackprop(Functional().eval()), IMAGES, 1))


def test_what_has_no_rule_is_refused_where_strict() -> None:
    with pytest.raises(UncoveredOperations, match="tanh"):
        ours.GuidedBackprop(MLP, strict=True).attribute(VECTORS, 1)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("target", TARGETS, ids=["int", "list", "tensor"])
@pytest.mark.parametrize("baselines", [None, 0.3, "one", "each"])
@pytest.mark.parametrize("multiply", [True, False])
def test_deep_lift_is_captums(case: Case, target: Any, baselines: Any, multiply: bool) -> None:
    model, _, x, _ = case
    given = {"one": rows(*x[:1].shape, seed=1), "each": rows(*x.shape, seed=1)}.get(
        baselines, baselines
    )
    mine, delta = ours.DeepLift(model, multiply).attribute(
        x, given, target, return_convergence_delta=True
    )
    expected, _ = theirs(
        captum.DeepLift(model, multiply), x, given, target, return_convergence_delta=True
    )
    close(mine, expected)
    if multiply:
        assert delta.abs().max() < 1e-12


@pytest.mark.parametrize("case", MODELS)
def test_deep_lift_inside_is_captums(case: Case) -> None:
    model, layer, x, neuron = case
    base = rows(*x[:1].shape, seed=1)
    for of_input in (False, True):
        mine, delta = ours.LayerDeepLift(model, layer).attribute(
            x, base, 1, return_convergence_delta=True, attribute_to_layer_input=of_input
        )
        close(
            mine,
            theirs(
                captum.LayerDeepLift(model, layer), x, base, 1, attribute_to_layer_input=of_input
            ),
        )
        assert delta.abs().max() < 1e-12
    close(
        ours.NeuronDeepLift(model, layer).attribute(x, neuron, base),
        theirs(captum.NeuronDeepLift(model, layer), x, neuron, base),
    )


@pytest.mark.parametrize("case", MODELS)
def test_deep_lift_shap_is_captums(case: Case) -> None:
    model, layer, x, neuron = case
    background = rows(4, *x.shape[1:], seed=2)
    shap = ours.DeepLiftShap(model)
    expected, deltas = theirs(
        captum.DeepLiftShap(model), x, background, [0, 1, 2], return_convergence_delta=True
    )
    close(shap.attribute(x, background, [0, 1, 2]), expected)
    mine, delta = shap.attribute(x, background, [0, 1, 2], return_convergence_delta=True)
    close(mine, expected)
    assert delta.shape == deltas.shape == (12,)
    assert delta.abs().max() < 1e-12
    close(shap.attribute(x, lambda t: background + 0 * t[:1], [0, 1, 2]), expected)
    close(
        ours.LayerDeepLiftShap(model, layer).attribute(x, background, 1),
        theirs(captum.LayerDeepLiftShap(model, layer), x, background, 1),
    )
    close(
        ours.NeuronDeepLiftShap(model, layer).attribute(x, neuron, background),
        theirs(captum.NeuronDeepLiftShap(model, layer), x, neuron, background),
    )


FUNCTIONS = {
    "multipliers": lambda m: tuple(t * 2 for t in m),
    "with inputs": lambda m, x: tuple(a * b for a, b in zip(m, x, strict=True)),
    "with baselines": lambda m, x, b: tuple(
        a * (c - d) ** 2 for a, c, d in zip(m, x, b, strict=True)
    ),
}


@pytest.mark.parametrize("custom", FUNCTIONS.values(), ids=FUNCTIONS)
def test_attributions_may_be_made_of_multipliers(custom: Any) -> None:
    base, background = rows(1, 5, seed=1), rows(3, 5, seed=2)
    for mine, other, given in (
        (ours.DeepLift(MLP), captum.DeepLift(MLP), base),
        (ours.DeepLiftShap(MLP), captum.DeepLiftShap(MLP), background),
    ):
        close(
            mine.attribute(VECTORS, given, 1, custom_attribution_func=custom),
            theirs(other, VECTORS, given, 1, custom_attribution_func=custom),
        )
    close(
        ours.LayerDeepLift(MLP, MLP[1]).attribute(VECTORS, base, 1, custom_attribution_func=custom),
        theirs(captum.LayerDeepLift(MLP, MLP[1]), VECTORS, base, 1, custom_attribution_func=custom),
    )


@pytest.mark.parametrize("custom", [lambda: (), lambda a, b, c, d: (), 3])
def test_a_function_of_other_arguments_is_refused(custom: Any) -> None:
    with pytest.raises(InvalidInput, match="custom_attribution_func"):
        ours.DeepLift(MLP).attribute(VECTORS, 0, 1, custom_attribution_func=custom)


def test_several_inputs_come_back_as_a_tuple() -> None:
    model = basic.ReLULinearModel(inplace=True)
    inputs = tuple(rows(3, 3, seed=i).float() for i in (0, 1))
    for mine, other in (
        (ours.DeepLift(model), captum.DeepLift(model)),
        (ours.GuidedBackprop(model), captum.GuidedBackprop(model)),
    ):
        values = mine.attribute(inputs)
        assert isinstance(values, tuple)
        torch.testing.assert_close(values, theirs(other, inputs), rtol=1e-5, atol=1e-6)


def test_noise_may_be_averaged_over() -> None:
    tunnel = ours.NoiseTunnel(ours.DeepLift(MLP))
    still = tunnel.attribute(VECTORS, nt_samples=3, stdevs=0.0, baselines=0, target=1)
    close(still, ours.DeepLift(MLP).attribute(VECTORS, 0, 1))


@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap"])
def test_attributions_that_do_not_add_up_come_with_a_warning(name: str) -> None:
    def model(x: Tensor) -> Tensor:
        # The program's flow: no operation computes with what it asks.
        return torch.stack([row.sum() * (2 if row.sum() > 3 else 1) for row in x])

    explained = getattr(ours, name)(model)
    with pytest.warns(UserWarning, match="of the output's difference unexplained for 1 of 1 rows"):
        explained.attribute(torch.ones(1, 4), baselines=torch.full((1, 4), 0.5))


def test_attributions_at_a_layer_need_not_add_up() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return (self.linear(x) + 5 * x).sum(1)

    model = Skipping()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.LayerDeepLift(model, model.linear).attribute(torch.ones(1, 4))
