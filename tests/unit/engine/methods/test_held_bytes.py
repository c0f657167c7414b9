"""The memory that methods state is about the memory that their flows hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Site
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.vocabulary.method import Method, held_bytes, needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from tests.held_memory import held_most

FEW: dict[str, int] = {"shapley_values": 6, "shapley_interactions": 6}
"""Features of methods that enumerate all coalitions."""

TAKERS = [name for name, method in METHODS.items() if method.traits.tolerance]
SLACK = 64 << 10
"""Bytes of small things: masks, lists of places, weights of a rule."""

LAYER = (8, 8, 8)


def network() -> nn.Module:
    """A network of images, smooth, so that tolerances are met with the usual number of rows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Softplus(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Softplus(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 4),
        ).eval()


def grouped(features: int, size: int) -> Tensor:
    elements = 3 * size * size
    return (torch.arange(elements) * features // elements).view(1, 3, size, size)


def asked(
    name: str,
    examples: int,
    size: int = 16,
    *,
    features: int = 32,
    baselines: int = 1,
    tolerance: float | None = None,
) -> Explicand:
    traits = METHODS[name].traits
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(examples, 3, size, size, generator=generator)
    starts = torch.rand(baselines, 3, size, size, generator=generator)
    number = FEW.get(name, features)
    return Explicand.of(
        images,
        target=0,
        baselines=starts,
        background=baselines > 1,
        at=Site("3") if needs_layer(traits.layer) else INPUT,
        feature_mask=grouped(number, size) if traits.feature_masks and number else None,
        tolerance=tolerance,
    )


def stated(method: Method, explicand: Explicand) -> int:
    """As the service asks: at a layer, with the values there in the place of the inputs."""
    if explicand.at != INPUT and method.traits.layer != "through":
        explicand = replace(explicand, inputs=(torch.zeros(explicand.count, *LAYER),))
    return held_bytes(method, explicand)


def check(method: Method, explicand: Explicand, most: float = 4.0) -> None:
    model = network()
    held_most(model, method, explicand)  # what is kept for all requests is kept now
    in_python = method.traits.name == "partition_shap"
    held = held_most(model, method, explicand, objects=in_python)
    said = stated(method, explicand)
    assert held <= 1.25 * said + SLACK, f"it holds {held} bytes and states {said}"
    assert said <= most * held + SLACK, f"it states {said} bytes and holds {held}"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_states_what_it_holds(name: str) -> None:
    check(METHODS[name](), asked(name, 4))


@pytest.mark.parametrize("name", TAKERS)
def test_so_does_every_method_that_takes_a_tolerance(name: str) -> None:
    check(METHODS[name](), asked(name, 3, tolerance=0.3), most=8.0)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.traits.background])
@pytest.mark.parametrize("tolerance", [None, 0.3])
def test_so_does_every_method_of_a_background(name: str, tolerance: float | None) -> None:
    if tolerance is None or name in TAKERS:
        check(METHODS[name](), asked(name, 2, baselines=8, tolerance=tolerance), most=8.0)


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("smooth_grad", {"n_samples": 100}, 32),
        ("expected_gradients", {"n_samples": 1000}, 32),
        ("gradient_shap", {"n_samples": 500}, 32),
        ("integrated_gradients", {"n_steps": 500}, 32),
        ("kernel_shap", {"n_samples": 3000}, 64),
        ("leverage_shap", {"n_samples": 3000}, 64),
        ("lime", {"n_samples": 3000}, 64),
        ("lime", {}, 0),
        ("kernel_shap", {}, 0),
        ("owen_sampling", {"n_samples": 50}, 64),
        ("shapley_value_sampling", {"n_samples": 50}, 64),
        ("partition_shap", {"max_evals": 2000}, 256),
        ("rise", {"n_samples": 3000}, 32),
        ("feature_ablation", {}, 0),
    ],
    ids=str,
)
def test_also_with_many_samples_or_features(
    name: str, parameters: dict[str, Any], features: int
) -> None:
    check(resolve(METHODS[name], parameters), asked(name, 2, features=features))


@pytest.mark.parametrize("size", [16, 32])
def test_a_method_inside_another_holds_its_memory_for_each_copy(size: int) -> None:
    check(SmoothGrad(of=IntegratedGradients()), asked("smooth_grad", 4, size))


def test_copies_repeat_the_baselines_of_each_example() -> None:
    explicand = replace(asked("smooth_grad", 4), baselines=(torch.rand(4, 3, 16, 16),))
    check(SmoothGrad(of=IntegratedGradients()), explicand)


def test_backgrounds_are_not_copied_for_each_evaluation() -> None:
    """A sweep once copied the background four times for each example."""
    explicand = asked("expected_gradients", 2, baselines=64, tolerance=0.3)
    of_each = 64 * explicand.inputs[0].nbytes
    held = held_most(network(), METHODS["expected_gradients"](), explicand)
    assert held < 1.5 * of_each
