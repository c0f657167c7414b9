"""Gradient methods at inputs and for neurons, over Captum's forms of arguments, against Captum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn

from tests.captum_oracle import assert_captums


@dataclass(frozen=True)
class Case:
    """A model and what to ask of it."""

    model: nn.Module
    inputs: Any
    baselines: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


def seeded(make: Any, *args: Any, **kwargs: Any) -> nn.Module:
    """A small model with the same random weights in each run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: nn.Module = make(*args, **kwargs).eval()
        return module


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


THREE = rows(3, 3)
IMAGES = rows(3, 1, 10, 10, seed=1) * 5
LAYERED = basic.BasicModel_MultiLayer()
MULTI_INPUT = basic.BasicModel_MultiLayer_MultiInput()
CONVOLUTIONS = seeded(basic.BasicModel_ConvNet)
MULTIDIM = (None, True)

CASES = {
    "plain": Case(basic.BasicModel(), rows(4)),
    "two numbers": Case(basic.BasicModel2(), (torch.tensor([3.0]), torch.tensor([1.0]))),
    "baseline numbers": Case(basic.BasicModel2(), (rows(3), rows(3, seed=1)), (0.5, -1)),
    "one example": Case(LAYERED, THREE[:1], None, {"target": 1}),
    "int target": Case(LAYERED, THREE, None, {"target": 0}),
    "negative target": Case(LAYERED, THREE, 0.2, {"target": -1}),
    "tensor target": Case(LAYERED, THREE, THREE + 1, {"target": torch.tensor([0, 1, 1])}),
    "one-element target": Case(LAYERED, THREE, THREE[:1], {"target": torch.tensor([[1]])}),
    "list target": Case(LAYERED, THREE, torch.zeros(3, 3), {"target": [1, 0, 1]}),
    "tuple target": Case(
        LAYERED, THREE, None, {"target": (1, 0, 1), "additional_forward_args": MULTIDIM}
    ),
    "list of tuples": Case(
        LAYERED,
        THREE,
        None,
        {"target": [(1, 0, 1), (0, 0, 1), (1, 1, 0)], "additional_forward_args": MULTIDIM},
    ),
    "slices": Case(
        LAYERED,
        THREE,
        None,
        {"target": (slice(1, 2), 0, slice(0, 1)), "additional_forward_args": MULTIDIM},
    ),
    "per-example argument": Case(
        LAYERED, THREE, 0, {"target": 1, "additional_forward_args": THREE + 2}
    ),
    "shared arguments": Case(
        basic.BasicModel4_MultiArgs(),
        (rows(3, 3), rows(3, 3, seed=1)),
        None,
        {"additional_forward_args": (3.0, 1)},
    ),
    "list argument": Case(
        basic.BasicModel5_MultiArgs(),
        (rows(3, 3), rows(3, 3, seed=1)),
        None,
        {"additional_forward_args": ([2, 3], 1)},
    ),
    "0-d argument": Case(
        basic.BasicModel4_MultiArgs(),
        (rows(3, 3), rows(3, 3, seed=1)),
        None,
        {"additional_forward_args": (torch.tensor(2.0),)},
    ),
    "three inputs": Case(
        MULTI_INPUT,
        (THREE, rows(3, 3, seed=1), rows(3, 3, seed=2)),
        (0, torch.ones(1, 3), rows(3, 3, seed=3)),
        {"target": [0, 1, 0], "additional_forward_args": (4,)},
    ),
    "two of three inputs": Case(
        MULTI_INPUT,
        (THREE, rows(3, 3, seed=1)),
        None,
        {"target": 0, "additional_forward_args": (rows(3, 3, seed=2), 5)},
    ),
    "one-tuple": Case(LAYERED, (THREE,), (0.5,), {"target": 1}),
    "in-place activation": Case(
        basic.ReLULinearModel(inplace=True), (rows(3, 3), rows(3, 3, seed=1))
    ),
    "convolutions": Case(CONVOLUTIONS, IMAGES, None, {"target": [0, 5, 9]}),
    "a function": Case(lambda x: (x**3).sum(1), THREE),  # type: ignore[arg-type]
    "a data-parallel model": Case(nn.DataParallel(LAYERED), THREE, None, {"target": 1}),
}

BATCHES = (None, 1, 2, 7, 100)


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.mark.parametrize("magnitude", [True, False])
def test_saliency_is_captums(case: Case, magnitude: bool) -> None:
    assert_captums("Saliency", (case.model,), case.inputs, abs=magnitude, **case.arguments)


def test_input_x_gradient_is_captums(case: Case) -> None:
    assert_captums("InputXGradient", (case.model,), case.inputs, **case.arguments)


@pytest.mark.parametrize("batch", BATCHES)
def test_integrated_gradients_are_captums(case: Case, batch: int | None) -> None:
    assert_captums(
        "IntegratedGradients",
        (case.model,),
        case.inputs,
        case.baselines,
        n_steps=13,
        internal_batch_size=batch,
        return_convergence_delta=True,
        tolerance=2e-5,
        **case.arguments,
    )


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("multiply", [True, False])
def test_the_rules_of_integrated_gradients_are_captums(rule: str, multiply: bool) -> None:
    assert_captums(
        "IntegratedGradients", (LAYERED, multiply), THREE, 0.5, 1, n_steps=9, method=rule
    )


@pytest.mark.parametrize("multiply", [True, False])
def test_gradient_shap_with_one_baseline_and_a_straight_model_is_captums(multiply: bool) -> None:
    model = nn.Linear(3, 2)
    assert_captums(
        "GradientShap",
        (model, multiply),
        THREE,
        torch.ones(1, 3),
        n_samples=4,
        target=1,
        return_convergence_delta=True,
    )


SELECTORS: dict[str, Any] = {
    "int": 1,
    "negative": -2,
    "tuple": (2,),
    "slice": (slice(1, 3),),
    "function": lambda t: t[:, 1] * t[:, 2],
    "function of a column": lambda t: t[:, :1],
}


@pytest.fixture(params=list(SELECTORS.values()), ids=list(SELECTORS))
def selector(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("of_input", [False, True])
def test_the_gradient_of_a_neuron_is_captums(selector: Any, of_input: bool) -> None:
    layer = LAYERED.linear2 if of_input else LAYERED.linear1
    assert_captums("NeuronGradient", (LAYERED, layer), THREE, selector, None, of_input)


@pytest.mark.parametrize("batch", BATCHES)
def test_integrated_gradients_of_a_neuron_are_captums(selector: Any, batch: int | None) -> None:
    assert_captums(
        "NeuronIntegratedGradients",
        (LAYERED, LAYERED.linear1),
        THREE,
        selector,
        torch.ones(1, 3),
        n_steps=8,
        internal_batch_size=batch,
    )


def test_neurons_of_an_image_layer_are_captums() -> None:
    construct = (CONVOLUTIONS, CONVOLUTIONS.conv1)
    for selector in ((1, 2, 3), (1, slice(0, 4), 3), lambda t: t[:, 0].amax((1, 2))):
        assert_captums("NeuronGradient", construct, IMAGES, selector)


def test_a_neuron_of_a_layer_with_several_tensors_is_chosen_by_a_function() -> None:
    model = basic.BasicModel_MultiLayer(multi_input_module=True)
    assert_captums("NeuronGradient", (model, model.multi_relu), THREE, lambda t: t[1][:, 2])
    assert_captums(
        "NeuronConductance",
        (model, model.multi_relu),
        THREE,
        lambda t: t[1][:, 2],
        target=1,
        method="gausslegendre",
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("selector", [1, -1, (2,), lambda t: t[:, 3]])
@pytest.mark.parametrize("target", [1, [0, 1, 1]])
def test_the_conductance_of_a_neuron_is_captums(
    selector: Any, target: Any, batch: int | None
) -> None:
    assert_captums(
        "NeuronConductance",
        (LAYERED, LAYERED.relu),
        THREE,
        selector,
        0.1,
        target=target,
        n_steps=8,
        method="riemann_middle",
        internal_batch_size=batch,
    )


@pytest.mark.parametrize("multiply", [True, False])
def test_the_conductance_of_a_pixel_of_a_layer_is_captums(multiply: bool) -> None:
    assert_captums(
        "NeuronConductance",
        (CONVOLUTIONS, CONVOLUTIONS.pool1, None, multiply),
        IMAGES,
        (1, 2, 2),
        target=[1, 2, 3],
        n_steps=8,
        method="gausslegendre",
        attribute_to_neuron_input=True,
    )


def test_gradient_shap_of_a_neuron_is_captums_where_nothing_is_left_to_chance() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert_captums("NeuronGradientShap", (model, model[0]), THREE, (slice(0, 2),), torch.ones(1, 3))
