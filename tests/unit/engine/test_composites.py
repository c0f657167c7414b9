"""Which layer has which rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP
from adcaptum.engine.rules.lrp.affine_rules import AlphaBeta, Flat, LayerRule, WSquare, ZPlus
from adcaptum.engine.rules.lrp.composites import (
    Composite,
    First,
    Last,
    Named,
    OfKind,
    OfType,
    Selector,
    Those,
    composite,
)
from tests.models import numbers
from tests.relevance_models import seeded


def network() -> nn.Sequential:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3),
            nn.ReLU(),
            nn.Conv2d(3, 3, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )
    )
    assert isinstance(model, nn.Sequential)
    return model


def relevance(model: nn.Module, *choices: tuple[Selector, LayerRule]) -> Tensor:
    method = CompositeLRP(Composite(choices))
    return explain(model, method, Explicand.of(numbers(2, 2, 6, 6), target=1)).values[0]


def test_selectors_agree_on_what_they_select() -> None:
    model, rule = network(), ZPlus()
    first, second, third, last = (model[i] for i in (0, 2, 5, 7))
    same: list[list[tuple[Selector, LayerRule]]] = [
        [(OfKind(("convolution",)), rule)],
        [(OfType((nn.Conv2d,)), rule)],
        [(Named(("0", "2")), rule)],
        [(Those((first, second)), rule)],
        [(First(), rule), (Those((second,)), rule)],
        [(Those((third,)), rule), (Last(), AlphaBeta()), (Named(("?",)), rule)],
    ]
    expected, *others = (relevance(model, *choices) for choices in same)
    for i, other in enumerate(others[:-1]):
        torch.testing.assert_close(other, expected, msg=f"{same[i + 1]}")
    assert last in model
    assert not torch.allclose(others[-1], expected)


def test_the_first_selector_that_fits_decides() -> None:
    model = network()
    both = relevance(model, (OfType((nn.Conv2d,)), ZPlus()), (Named(("*",)), AlphaBeta()))
    only = relevance(model, (Named(("0", "2")), ZPlus()), (OfType((nn.Linear,)), AlphaBeta()))
    torch.testing.assert_close(both, only)


def test_the_last_layer_is_the_last_that_is_called() -> None:
    model = network()
    torch.testing.assert_close(
        relevance(model, (Last(), WSquare())), relevance(model, (Named(("7",)), WSquare()))
    )


def test_each_way_from_the_input_has_a_first_layer() -> None:
    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.left(x).relu() + self.right(x * 2).relu()).sum((2, 3))

    model = seeded(TwoWays)
    torch.testing.assert_close(
        relevance(model, (First(), Flat())), relevance(model, (Named(("left", "right")), Flat()))
    )


def test_a_functional_call_on_a_modules_weight_is_that_modules() -> None:
    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(72, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = functional.linear(x.flatten(1), self.layer.weight[1:], self.layer.bias[1:])
            return functional.relu(h) @ self.head.weight[:, 1:].T

    model = seeded(Calls)
    for name in ("layer", "head"):
        by_name = relevance(model, (Named((name,)), ZPlus()))
        assert not torch.allclose(by_name, relevance(model))


def test_a_computed_weight_has_the_rule_of_its_operation() -> None:
    model = network()
    parametrizations.weight_norm(model[0])
    by_type = relevance(model, (OfType((nn.Conv2d,)), ZPlus()))
    torch.testing.assert_close(by_type, relevance(model, (OfKind(("convolution",)), ZPlus())))


def test_tied_weights_are_every_owners() -> None:
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 72), nn.Linear(72, 72)))
    assert isinstance(model, nn.Sequential)
    model[2].weight = model[1].weight
    by_one, by_other = (relevance(model, (Named((name,)), ZPlus())) for name in ("1", "2"))
    torch.testing.assert_close(by_one, by_other)


def test_a_rule_for_a_batch_norm_keeps_it_apart() -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
        )
    )
    assert isinstance(model, nn.Sequential)
    convolutions: tuple[Selector, LayerRule] = (OfKind(("convolution",)), ZPlus())
    merged = relevance(model, convolutions)
    apart = relevance(model, (Those((model[1],)), ZPlus()), convolutions)
    assert not torch.allclose(apart, merged)


def test_rules_for_modules_come_before_those_of_the_composite() -> None:
    model = network()
    method = CompositeLRP(composite("epsilon_plus").overridden({model[0]: WSquare()}))
    overridden = explain(model, method, Explicand.of(numbers(2, 2, 6, 6), target=1)).values[0]
    expected = relevance(model, (Named(("0",)), WSquare()), (OfKind(("convolution",)), ZPlus()))
    torch.testing.assert_close(overridden, expected)


@pytest.mark.parametrize("other", [Composite((), ZPlus()), composite("attn_lrp")])
def test_composites_are_compared_by_what_they_say(other: Composite) -> None:
    assert composite("epsilon") == composite("epsilon")
    assert hash(composite("epsilon")) == hash(composite("epsilon"))
    assert composite("epsilon") != other
