"""Guided backpropagation and deconvolution against their definitions, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, UncoveredOperations, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, numbers

_weights = (numbers(8, 8, seed=9), numbers(8, 8, seed=8), numbers(8, 3, seed=7))
METHODS_TESTED = ("guided_backprop", "deconvolution")


def network(relu: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: relu(relu(x @ _weights[0]) @ _weights[1]) @ _weights[2]


def by_definition(x: Tensor, target: int, method: str) -> Tensor:
    """The backward pass written out, row by row."""
    first = x @ _weights[0]
    second = first.clamp(min=0) @ _weights[1]
    signal = _weights[2][:, target].expand(len(x), -1)
    for before, weight in ((second, _weights[1]), (first, _weights[0])):
        signal = signal.clamp(min=0)
        if method == "guided_backprop":
            signal = signal * (before > 0)
        signal = signal @ weight.T
    return signal


@pytest.mark.parametrize("method", METHODS_TESTED)
@pytest.mark.parametrize(
    "relu",
    [
        F.relu,
        torch.relu,
        lambda x: x.relu(),
        lambda x: x.clone().relu_(),
        nn.ReLU(),
        nn.ReLU(inplace=True),
        torch.ops.aten.relu.default,
    ],
    ids=["F", "torch", "method", "in place", "module", "module in place", "aten"],
)
def test_what_is_negative_does_not_pass(method: str, relu: Callable[[Tensor], Tensor]) -> None:
    x = numbers(4, 8)
    for target in range(3):
        answer = explain(network(relu), METHODS[method](), Explicand.of(x, target=target))
        torch.testing.assert_close(answer.values[0], by_definition(x, target, method))
        assert answer.uncovered_ops == ()


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_other_activations_are_listed_and_refused_if_strict(method: str) -> None:
    other = network(lambda x: F.gelu(x) + torch.relu(x) + F.leaky_relu(x))
    question = Explicand.of(numbers(2, 8), target=1)
    answer = explain(other, METHODS[method](), question)
    assert answer.uncovered_ops == ("gelu", "leaky_relu")
    with pytest.raises(UncoveredOperations, match="gelu, leaky_relu"):
        explain(other, resolve(METHODS[method], {"strict": True}), question)


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_pooling_normalisation_and_residuals_are_no_rectifiers(method: str) -> None:
    answer = explain(cnn(), METHODS[method](), Explicand.of(numbers(2, 1, 8, 8), target=1))
    assert answer.uncovered_ops == ()


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_at_a_layer_it_is_the_signal_there(method: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()).double()
    x = numbers(3, 8)
    at_layer = Explicand.of(x, target=2, at=Site("1"))
    answer = explain(model, METHODS[method](), at_layer)
    behind = nn.Sequential(*list(model)[2:])
    expected = explain(behind, METHODS[method](), Explicand.of(model[:2](x), target=2))
    torch.testing.assert_close(answer.values, expected.values)
