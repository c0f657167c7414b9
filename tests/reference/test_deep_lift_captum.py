"""Captum where it is right, and where it is not: the rows B2 to B10 of its bugs, and B31."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from captum.attr import (
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    GuidedBackprop,
    LayerDeepLift,
    NeuronDeepLift,
    Saliency,
)
from torch import Tensor, nn

from adcaptum.engine import METHODS, Attribution, Explicand, Neuron, Site, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks"),
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
]


def seeded(*layers: Callable[[], nn.Module]) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*(make() for make in layers)).double().eval()


def perceptron() -> nn.Sequential:
    """Every activation that Captum knows, each once."""
    known = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
    layers: list[Callable[[], nn.Module]] = []
    for activation in known:
        layers += [lambda: nn.Linear(8, 8), activation]
    return seeded(*layers, lambda: nn.Linear(8, 3))


def convolutional() -> nn.Sequential:
    """Convolutions, batch norm and pooling by windows that do not overlap.

    No two non-linearities follow each other, which is B5.
    """
    return seeded(
        lambda: nn.Conv2d(2, 4, 3, padding=1),
        lambda: nn.BatchNorm2d(4),
        nn.ReLU,
        lambda: nn.Conv2d(4, 4, 3, padding=1),
        lambda: nn.MaxPool2d(2),
        lambda: nn.Conv2d(4, 4, 1),
        nn.ELU,
        nn.Flatten,
        lambda: nn.Linear(64, 3),
    )


NETWORKS = {"perceptron": (perceptron, (8,)), "convolutional": (convolutional, (2, 8, 8))}


def ours(model: Any, x: Tensor, x0: Tensor, target: Any = 1, **params: Any) -> Attribution:
    question = Explicand.of(x, target=target, baselines=x0)
    return explain(model, resolve(METHODS["deep_lift"], params), question)


def error(answer: Attribution) -> float:
    assert answer.completeness_error is not None
    return float(answer.completeness_error.max())


def captums_error(model: nn.Module, x: Tensor, x0: Tensor, target: int = 1) -> float:
    _, delta = DeepLift(model).attribute(x, x0, target=target, return_convergence_delta=True)
    return float(delta.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("multiply", [True, False])
def test_deep_lift_agrees_with_captum(name: str, multiply: bool) -> None:
    make, shape = NETWORKS[name]
    model, x, x0 = make(), numbers(3, *shape), numbers(3, *shape, seed=1)
    captums = DeepLift(model, multiply_by_inputs=multiply).attribute(x, x0, target=[0, 2, 1])
    answer = ours(model, x, x0, [0, 2, 1], multiply_by_inputs=multiply)
    torch.testing.assert_close(answer.values[0], captums, rtol=1e-6, atol=1e-9)


def test_deep_lift_shap_agrees_with_captum() -> None:
    model, x, x0 = convolutional(), numbers(3, 2, 8, 8), numbers(4, 2, 8, 8, seed=1)
    captums = DeepLiftShap(model).attribute(x, x0, target=[0, 2, 1])
    question = Explicand.of(x, target=[0, 2, 1], baselines=x0, background=True)
    answer = explain(model, METHODS["deep_lift_shap"](), question)
    torch.testing.assert_close(answer.values[0], captums, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("at_input", [True, False])
def test_deep_lift_at_a_layer_agrees_with_captum(at_input: bool) -> None:
    model, x, x0 = convolutional(), numbers(3, 2, 8, 8), numbers(3, 2, 8, 8, seed=1)
    captums = LayerDeepLift(model, model[3]).attribute(
        x, x0, target=1, attribute_to_layer_input=at_input
    )
    site = Site("3", "input" if at_input else "output")
    question = Explicand.of(x, target=1, baselines=x0, at=site)
    answer = explain(model, METHODS["deep_lift"](), question)
    torch.testing.assert_close(answer.values[0], captums, rtol=1e-6, atol=1e-9)
    assert answer.rows_used == 6


def test_deep_lift_of_a_neuron_agrees_with_captum() -> None:
    model, x, x0 = convolutional(), numbers(3, 2, 8, 8), numbers(3, 2, 8, 8, seed=1)
    captums = NeuronDeepLift(model, model[5]).attribute(x, (2, 3, 1), x0)
    neuron = Neuron(Site("5"), (2, 3, 1))
    answer = explain(model, METHODS["deep_lift"](), Explicand.of(x, target=neuron, baselines=x0))
    torch.testing.assert_close(answer.values[0], captums, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_rectified_gradients_agree_with_captum(method: str) -> None:
    model = seeded(
        lambda: nn.Conv2d(2, 4, 3), nn.ReLU, lambda: nn.MaxPool2d(2), nn.Flatten,
        lambda: nn.Linear(36, 8), lambda: nn.ReLU(inplace=True), lambda: nn.Linear(8, 3),
    )  # fmt: skip
    x = numbers(3, 2, 8, 8)
    reference = {"guided_backprop": GuidedBackprop, "deconvolution": Deconvolution}[method]
    captums = reference(model).attribute(x.clone(), target=[0, 2, 1])
    answer = explain(model, METHODS[method](), Explicand.of(x, target=[0, 2, 1]))
    torch.testing.assert_close(answer.values[0], captums, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pool", [(3, 2, 1), (4, 2, 0)], ids=["k3s2p1", "k4s2"])
def test_b2_overlapping_windows_lose_nothing(pool: tuple[int, int, int]) -> None:
    model = seeded(lambda: nn.Conv1d(1, 3, 3, padding=1), lambda: nn.MaxPool1d(*pool), nn.Flatten,
                   lambda: nn.LazyLinear(2))  # fmt: skip
    x, x0 = numbers(2, 1, 12), numbers(2, 1, 12, seed=1)
    model(x)
    assert captums_error(model, x, x0) > 1e-2
    assert error(ours(model, x, x0)) < 1e-12


def test_b3_a_row_where_nothing_changes_does_not_depend_on_its_neighbours() -> None:
    model = seeded(lambda: nn.MaxPool1d(2), nn.Flatten, lambda: nn.Linear(6, 2))
    x0 = numbers(3, 1, 12)
    x = x0 + numbers(3, 1, 12, seed=1) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1)
    x[..., :6] = x0[..., :6]
    together = ours(model, x, x0, multiply_by_inputs=False).values[0]
    for i in range(3):
        alone = ours(model, x[i : i + 1], x0[i : i + 1], multiply_by_inputs=False).values[0]
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def test_b4_stacked_pools_agree_where_the_input_is_the_baseline() -> None:
    model = seeded(lambda: nn.MaxPool1d(3, 1, 1), lambda: nn.MaxPool1d(2), nn.Flatten,
                   lambda: nn.Linear(6, 2))  # fmt: skip
    x0 = numbers(2, 1, 12)
    x = x0.clone()
    x[..., 8:] += 1
    answer = ours(model, x, x0)
    assert error(answer) < 1e-12
    assert answer.values[0][..., :8].abs().max() == 0


def test_b5_a_pool_before_an_activation_is_complete() -> None:
    model = seeded(lambda: nn.Conv1d(1, 3, 3, padding=1), lambda: nn.MaxPool1d(2), nn.ReLU,
                   nn.Flatten, lambda: nn.Linear(18, 2))  # fmt: skip
    x, x0 = numbers(2, 1, 12), numbers(2, 1, 12, seed=1)
    assert captums_error(model, x, x0) > 1e-2
    assert error(ours(model, x, x0)) < 1e-12


def test_b6_softmax_is_complete_and_each_row_its_own() -> None:
    model = seeded(lambda: nn.Linear(6, 4), lambda: nn.Softmax(1))
    x, x0 = numbers(3, 6), numbers(3, 6, seed=1)
    assert captums_error(model, x, x0) > 1e-2
    captums = DeepLift(model)
    moved = captums.attribute(x, x0, target=1)[:1] - captums.attribute(x[:1], x0[:1], target=1)
    assert moved.abs().max() > 1e-3
    answer = ours(model, x, x0)
    assert error(answer) < 1e-12
    alone = ours(model, x[:1], x0[:1])
    torch.testing.assert_close(answer.values[0][:1], alone.values[0], rtol=1e-12, atol=1e-12)


class Functional(nn.Module):
    """An activation that is called as a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("activation", [nn.GELU(), Functional(F.relu), nn.SiLU(), nn.Hardswish()])
def test_b7_no_activation_has_its_plain_gradient(activation: nn.Module) -> None:
    model = seeded(lambda: nn.Linear(6, 8), lambda: activation, lambda: nn.Linear(8, 2))
    x, x0 = 2 * numbers(2, 6), numbers(2, 6, seed=1)
    assert captums_error(model, x, x0) > 1e-2
    answer = ours(model, x, x0)
    assert answer.uncovered_ops == ()
    assert error(answer) < 1e-12


class Twice(nn.Module):
    """One ReLU used twice, or a new one made for each use."""

    def __init__(self, *, fresh: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2)
        self.relu = nn.ReLU()
        self.fresh = fresh

    def forward(self, x: Tensor) -> Tensor:
        first, second = (nn.ReLU(), nn.ReLU()) if self.fresh else (self.relu, self.relu)
        return self.second(second(first(self.first(x)) - 0.3))


def test_b8_a_relu_may_be_used_twice_or_made_on_the_way() -> None:
    x, x0 = numbers(2, 6), numbers(2, 6, seed=1)
    once, fresh = seeded(lambda: Twice(fresh=False)), seeded(lambda: Twice(fresh=True))
    with pytest.raises(RuntimeError):
        DeepLift(once).attribute(x, x0, target=1)
    assert captums_error(fresh, x, x0) > 1e-3
    answers = [ours(model, x, x0) for model in (once, fresh)]
    assert all(error(answer) < 1e-12 for answer in answers)
    torch.testing.assert_close(answers[0].values, answers[1].values, rtol=1e-12, atol=1e-12)


def test_b9_rounding_does_not_drown_small_differences() -> None:
    model = seeded(lambda: nn.Linear(6, 16), nn.Tanh, lambda: nn.Linear(16, 16), nn.Sigmoid,
                   lambda: nn.Linear(16, 2))  # fmt: skip
    x = numbers(8, 6)
    x0 = x + 1e-6 * numbers(8, 6, seed=1)
    exact = ours(model, x, x0, multiply_by_inputs=False).values[0]
    model.float()
    single = ours(model, x.float(), x0.float(), multiply_by_inputs=False).values[0]
    captums = DeepLift(model, multiply_by_inputs=False).attribute(x.float(), x0.float(), target=1)
    scale = exact.abs().max()
    assert (captums - exact).abs().max() > 0.05 * scale
    assert (single - exact).abs().max() < 1e-4 * scale


def test_b10_half_precision_is_finite() -> None:
    model = seeded(lambda: nn.Linear(6, 8), nn.ReLU, lambda: nn.Linear(8, 2)).half()
    x = numbers(2, 6).half()
    x0 = x.clone()
    x0[:, 0] += 1
    with torch.no_grad():
        next(model.parameters())[:, 0] = 0
    assert DeepLift(model).attribute(x, x0, target=1).isnan().any()
    answer = ours(model, x, x0)
    assert answer.values[0].isfinite().all()
    assert error(answer) < 0.05


def test_b31_a_functional_relu_is_rectified() -> None:
    linears = (lambda: nn.Linear(6, 8), lambda: nn.Linear(8, 2))
    modules = seeded(linears[0], nn.ReLU, linears[1])
    functional = seeded(linears[0], lambda: Functional(F.relu), linears[1])
    x = numbers(4, 6)
    for method, reference in (
        ("guided_backprop", GuidedBackprop),
        ("deconvolution", Deconvolution),
    ):
        plain = Saliency(functional).attribute(x.clone(), target=1, abs=False)
        captums = reference(functional).attribute(x.clone(), target=1)
        torch.testing.assert_close(captums, plain)
        expected = reference(modules).attribute(x.clone(), target=1)
        assert (expected - plain).abs().max() > 1e-3
        answer = explain(functional, METHODS[method](), Explicand.of(x, target=1))
        torch.testing.assert_close(answer.values[0], expected, rtol=1e-12, atol=1e-12)
