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


def _set(x: Tensor) -> Tensor:
    h = x.clone()
    h[h < 0] = 0
    return h


def _clamped_in_place(x: Tensor) -> Tensor:
    return x.clone().clamp_(0)


DISGUISES: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum of a number": lambda x: torch.max(torch.zeros(()).double(), x),
    "choice": lambda x: torch.where(x > 0, x, 0),
    "choice, the other way": lambda x: torch.where(x < 0, torch.zeros_like(x), x),
    "choice, method": lambda x: x.where(x >= 0, torch.zeros(())),
    "filled": lambda x: x.masked_fill(x <= 0, 0),
    "filled in place": lambda x: x.clone().masked_fill_(x < 0, 0.0),
    "product": lambda x: x * (x > 0),
    "product, cast": lambda x: (x > 0).to(x.dtype) * x,
    "product, like": lambda x: (x > 0).to(x).mul(x),
    "product, negated": lambda x: x * ~(x <= 0),
    "product in place": lambda x: x.clone().mul_(x > 0),
    "set": _set,
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "clamp in place": _clamped_in_place,
    "threshold": lambda x: F.threshold(x, 0, 0),
    "smaller of its opposite": lambda x: -torch.minimum(-x, torch.zeros(())),
    "clamp of its opposite": lambda x: -(-x).clamp(max=0),
}


@pytest.mark.parametrize("method", METHODS_TESTED)
@pytest.mark.parametrize("name", DISGUISES)
def test_a_relu_in_disguise_is_one(name: str, method: str) -> None:
    x = numbers(4, 8)
    answer = explain(network(DISGUISES[name]), METHODS[method](), Explicand.of(x, target=1))
    torch.testing.assert_close(answer.values[0], by_definition(x, 1, method))
    assert answer.uncovered_ops == ()


def _overwritten(x: Tensor) -> Tensor:
    h = x.clone()
    mask = h > 0
    h += 1
    return h * mask


OTHERS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "another threshold": (lambda x: x * (x > 1), "gt"),
    "the sign of something else": (lambda x: x * (x.flip(1) > 0), "gt"),
    "a sign of what was overwritten": (_overwritten, "gt"),
    "a leak": (lambda x: torch.where(x > 0, x, 0.1 * x), "where"),
    "a floor": (lambda x: torch.maximum(x, torch.ones(())), "maximum"),
    "two bounds": (lambda x: x.clamp(0, 6), "clamp"),
    "a bound above": (lambda x: x.clamp(max=2), "clamp"),
    "another value": (lambda x: F.threshold(x, 0, 1), "threshold"),
    "filled with one": (lambda x: x.masked_fill(x < 0, 1), "masked_fill"),
    "a place": (lambda x: x * x.argmax(1, keepdim=True), "argmax"),
}


@pytest.mark.parametrize("method", METHODS_TESTED)
@pytest.mark.parametrize("name", OTHERS)
def test_other_masks_and_bounds_are_listed(name: str, method: str) -> None:
    function, operation = OTHERS[name]
    question = Explicand.of(numbers(2, 8), target=1)
    answer = explain(network(function), METHODS[method](), question)
    assert operation in answer.uncovered_ops


@pytest.mark.parametrize("method", METHODS_TESTED)
def test_switches_are_none(method: str) -> None:
    def unpooled(x: Tensor) -> Tensor:
        y, at = F.max_pool1d(x[:, None], 2, return_indices=True)
        return F.max_unpool1d(torch.maximum(y, y.flip(2)), at, [2])[:, 0]

    question = Explicand.of(numbers(2, 8), target=1)
    assert explain(network(unpooled), METHODS[method](), question).uncovered_ops == ()


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
