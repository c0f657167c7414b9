"""Conductance and its kin, transcribed from their definitions with autograd alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import (
    INPUT,
    Explicand,
    InvalidArgument,
    Neuron,
    OutOfRange,
    Site,
    explain,
)
from adcaptum.engine.methods.layers.activation import Activation
from adcaptum.engine.methods.layers.conductance import Conductance
from adcaptum.engine.methods.layers.internal_influence import InternalInfluence
from adcaptum.engine.methods.layers.layer_gradient_shap import LayerGradientShap
from adcaptum.engine.methods.layers.neuron_conductance import NeuronConductance
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_and_weights
from adcaptum.engine.rows.noise import choose_lines
from tests.models import mlp, numbers, text_classifier

X, START = numbers(3, 8), numbers(3, 8, seed=1)
TARGETS = [0, 2, 1]
MODEL = mlp()
BOTTOM, TOP = nn.Sequential(*list(MODEL.children())[:2]), nn.Sequential(*list(MODEL.children())[2:])
RULES = get_args(Rule)


def question(*, with_error: bool = False) -> Explicand:
    return Explicand.of(X, target=TARGETS, baselines=START, at=Site("1"), with_error=with_error)


def point(i: int, alpha: float) -> Tensor:
    """A point of example i's way, one row."""
    return (START[i] + alpha * (X[i] - START[i]))[None]


def at_layer(i: int, alpha: float) -> tuple[Tensor, Tensor]:
    """The layer's values and the target's gradient there."""
    hidden = BOTTOM(point(i, alpha)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(TOP(hidden)[0, TARGETS[i]], hidden)
    return hidden.detach()[0], gradient[0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_rows", [1, 4, 100])
def test_conductance_is_its_sum(rule: Rule, batch_rows: int) -> None:
    """Sum over k of dF/dy at point k times y's step to point k + 1."""
    alphas = nodes_and_weights(rule, 8)[0].tolist()
    expected = torch.zeros(3, 16, dtype=torch.float64)
    for i in range(3):
        for k in range(7):
            here, gradient = at_layer(i, alphas[k])
            following, _ = at_layer(i, alphas[k + 1])
            expected[i] += gradient * (following - here)
    for with_error in (False, True):
        method = Conductance(n_steps=7, method=rule)
        answer = explain(MODEL, method, question(with_error=with_error), batch_rows=batch_rows)
        torch.testing.assert_close(answer.values[0], expected, rtol=1e-12, atol=1e-13)


def test_the_error_of_conductance_is_what_is_missing_from_the_output() -> None:
    answer = explain(MODEL, Conductance(n_steps=20), question(with_error=True))
    with torch.no_grad():
        change = (MODEL(X) - MODEL(START))[range(3), TARGETS]
    assert answer.completeness_error is not None
    torch.testing.assert_close(answer.completeness_error, (answer.values[0].sum(1) - change).abs())


@pytest.mark.parametrize("rule", RULES)
def test_internal_influence_is_the_mean_gradient(rule: Rule) -> None:
    alphas, weights = nodes_and_weights(rule, 6)
    expected = torch.stack(
        [
            sum((w * at_layer(i, a)[1] for a, w in zip(alphas, weights, strict=True)),
                start=torch.zeros(16).double())
            for i in range(3)
        ]
    )  # fmt: skip
    answer = explain(MODEL, InternalInfluence(n_steps=6, method=rule), question())
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("neuron", [0, 9, -1])
def test_the_conductance_of_a_neuron_is_its_integral(neuron: int) -> None:
    """Sum over k of w_k dF/dy dy/dx, times the way."""
    alphas, weights = nodes_and_weights("gausslegendre", 6)
    expected = torch.zeros(3, 8, dtype=torch.float64)
    for i in range(3):
        for alpha, weight in zip(alphas.tolist(), weights.tolist(), strict=True):
            x = point(i, alpha).requires_grad_()
            (slope,) = torch.autograd.grad(BOTTOM(x)[0, neuron], x)
            _, gradient = at_layer(i, alpha)
            expected[i] += weight * gradient[neuron] * slope[0] * (X[i] - START[i])
    answer = explain(MODEL, NeuronConductance(neuron=(neuron,), n_steps=6), question())
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-12, atol=1e-13)


def test_all_neurons_of_a_layer_conduct_the_integrated_gradients() -> None:
    every = explain(MODEL, NeuronConductance(n_steps=6), question())
    at_inputs = Explicand.of(X, target=TARGETS, baselines=START)
    integrated = explain(MODEL, IntegratedGradients(n_steps=6), at_inputs)
    torch.testing.assert_close(every.values, integrated.values, rtol=1e-12, atol=1e-13)


def test_a_neuron_that_the_layer_does_not_have_is_refused() -> None:
    with pytest.raises(OutOfRange, match="neuron"):
        explain(MODEL, NeuronConductance(neuron=(16,)), question())
    with pytest.raises(InvalidArgument, match="neuron"):
        explain(MODEL, NeuronConductance(neuron=(1, 1)), question())


SELECTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "a sum per row": lambda t: t.sum(1),
    "a sum of the whole batch": lambda t: t.sum(),
    "one number per row in a column": lambda t: t.sum(1, keepdim=True),
}


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS.keys())
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("batch_rows", [1, 7, 1000])
def test_a_function_that_adds_up_neurons_has_the_conductance_of_their_block(
    selector: Callable[[Tensor], Tensor], steps: int, batch_rows: int
) -> None:
    """The block's neurons conduct [0, 15, 12] of BasicModel_MultiLayer of Captum's tests."""
    second, last = nn.Linear(3, 4), nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        second.weight.fill_(1)
        second.bias.copy_(torch.tensor([-10.0, 1, 1, 1]))
        last.weight.fill_(1)
    model = nn.Sequential(second, nn.ReLU(), last)
    explicand = Explicand.of(
        torch.tensor([[0.0, 5.0, 4.0], [1.0, 5.0, 3.0]]),
        target=0,
        with_error=False,
    )
    explicand = replace(explicand, through=Neuron(Site("0"), selector))
    answer = explain(model, IntegratedGradients(n_steps=steps), explicand, batch_rows=batch_rows)
    torch.testing.assert_close(answer.values[0], torch.tensor([[0.0, 15, 12], [3, 15, 9]]))


@pytest.mark.parametrize("selector", [lambda t: t[:, :2], lambda t: 1.0])
def test_a_function_that_gives_several_numbers_per_row_is_refused(
    selector: Callable[[Tensor], Tensor],
) -> None:
    at_inputs = replace(question(), at=INPUT, through=Neuron(Site("1"), selector), with_error=False)
    with pytest.raises(InvalidArgument, match="one number per row"):
        explain(MODEL, IntegratedGradients(n_steps=4), at_inputs)


def test_gradient_shap_at_a_layer_is_its_mean() -> None:
    """The gradient at a point between inputs, times the layer's change from the baseline."""
    samples = 5
    choices, alphas = choose_lines(4, 0, samples, 3)
    expected = torch.zeros(3, 16, dtype=torch.float64)
    for i in range(3):
        for choice, alpha in zip(choices.tolist(), alphas.tolist(), strict=True):
            start = START[choice]
            hidden = BOTTOM(start + alpha * (X[i] - start)).detach().requires_grad_()
            (gradient,) = torch.autograd.grad(TOP(hidden)[TARGETS[i]], hidden)
            with torch.no_grad():
                expected[i] += gradient * (BOTTOM(X[i]) - BOTTOM(start)) / samples
    explicand = Explicand.of(X, target=TARGETS, baselines=START, at=Site("1"), seed=4)
    answer = explain(MODEL, LayerGradientShap(n_samples=samples), explicand)
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-10, atol=1e-12)


def test_an_activation_is_what_the_layer_gives() -> None:
    answer = explain(MODEL, Activation(), question())
    torch.testing.assert_close(answer.values[0], BOTTOM(X).detach())


@pytest.mark.parametrize(
    "method",
    [Activation(), Conductance(), InternalInfluence(), NeuronConductance(), LayerGradientShap()],
    ids=lambda m: m.traits.name,
)
def test_without_a_layer_there_is_nothing_to_explain(method: Activation) -> None:
    with pytest.raises(InvalidArgument, match="layer"):
        explain(MODEL, method, Explicand.of(X, target=0))


@pytest.mark.parametrize("method", [Conductance(), InternalInfluence(), LayerGradientShap()])
def test_a_way_between_token_ids_is_refused(method: Conductance) -> None:
    explicand = Explicand.of(
        torch.tensor([[1, 4, 7]]),
        target=1,
        at=Site("embedding"),
        additional_forward_args=(torch.ones(1, 3),),
    )
    with pytest.raises(InvalidArgument, match=r"inputs\[0\].*floating-point"):
        explain(text_classifier(), method, explicand)
