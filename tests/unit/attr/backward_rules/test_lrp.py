"""Layer-wise relevance propagation under Captum's names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adcaptum.attr as ours
from adcaptum.attr.backward_rules import lrp_rules
from adcaptum.engine.errors import UncoveredOperations
from adcaptum.engine.rules.lrp.composites import composite
from tests.captum_oracle import assert_same, captums


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Network(nn.Module):
    """Layers that Captum's LRP knows, and a flattening between them that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList(
            [
                nn.Conv2d(1, 4, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(4, 3, 3),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Linear(3, 5),
                nn.Tanh(),
                nn.Linear(5, 3),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x.flatten(1) if isinstance(layer, nn.Linear) else x)
        return x


def network() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network().double().eval()


X = rows(3, 1, 8, 8)


def relevance(model: Any, **arguments: Any) -> Tensor:
    values = ours.LRP(model, **arguments).attribute(X, 1)
    assert isinstance(values, Tensor)
    return values


@pytest.mark.parametrize("target", [1, [0, 2, 1], torch.tensor([2, 2, 0])])
def test_by_default_the_rule_is_epsilon_as_in_captum(target: Any) -> None:
    mine, delta = ours.LRP(network()).attribute(X, target, return_convergence_delta=True)
    theirs, their_delta = captums("LRP", (network(),), X, target, return_convergence_delta=True)
    assert_same(mine, theirs, 1e-6)
    assert_same(delta, their_delta, 1e-6)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("index", [0, 3, 6])
def test_relevance_at_a_layer_is_captums(index: int, of_input: bool) -> None:
    model, other = network(), network()
    mine, delta = ours.LayerLRP(model, model.layers[index]).attribute(
        X, 1, attribute_to_layer_input=of_input, return_convergence_delta=True
    )
    theirs = captums(
        "LayerLRP", (other, other.layers[index]), X, 1, attribute_to_layer_input=of_input
    )
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert_same(mine, theirs, 1e-6)
    assert isinstance(delta, Tensor)
    assert delta.shape == (3,)


def test_several_layers_come_as_a_list_each_with_its_delta() -> None:
    model = network()
    lists = ours.LayerLRP(model, [model.layers[0], model.layers[3]])
    found, deltas = lists.attribute(X, 1, return_convergence_delta=True)
    assert isinstance(found, list)
    for values, delta, layer in zip(found, deltas, (model.layers[0], model.layers[3]), strict=True):
        alone, own = ours.LayerLRP(model, layer).attribute(X, 1, return_convergence_delta=True)
        torch.testing.assert_close(values, alone)
        torch.testing.assert_close(delta, own)


def test_a_rule_on_a_module_is_honoured_and_kept() -> None:
    model = network()
    plain = relevance(model)
    rule = model.layers[3].rule = lrp_rules.GammaRule(gamma=2.0)
    first = relevance(model)
    assert model.layers[3].rule is rule
    second = relevance(model)
    # Convolutions may add up in another order: the last bit is the processor's.
    torch.testing.assert_close(second, first, rtol=1e-12, atol=1e-15)
    assert not torch.allclose(first, plain)
    del model.layers[3].rule
    torch.testing.assert_close(relevance(model), plain, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("set_bias_to_zero", [False, True])
def test_on_positive_inputs_alpha_beta_is_z_plus_by_definition(set_bias_to_zero: bool) -> None:
    layer: Any = nn.Linear(4, 3).double()
    # Weights of either sign: of negative ones alone nothing would be left to divide by.
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    layer.rule = lrp_rules.Alpha1_Beta0_Rule(set_bias_to_zero=set_bias_to_zero)
    x = rows(2, 4).abs()
    mine = ours.LRP(layer).attribute(x, 1)
    weight, bias = layer.weight[1].clamp_min(0), layer.bias[1].clamp_min(0)
    total = x @ weight + (0 if set_bias_to_zero else bias)
    expected = x * weight / total[:, None] * layer(x)[:, 1:2]
    torch.testing.assert_close(mine, expected.detach())


def test_a_single_layer_conserves_relevance() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    nn.init.ones_(layer.weight)
    mine, delta = ours.LRP(layer).attribute(rows(2, 3), 0, return_convergence_delta=True)
    torch.testing.assert_close(mine, rows(2, 3) * layer.weight[0].detach())
    assert delta.abs().max() < 1e-7


def test_an_identity_rule_hands_relevance_on_place_by_place() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double()
    model[0].rule = lrp_rules.IdentityRule()
    mine = ours.LRP(model).attribute(rows(2, 3), 1)
    arrived = ours.LayerLRP(model, model[0]).attribute(rows(2, 3), 1)
    assert isinstance(arrived, Tensor)
    torch.testing.assert_close(mine, arrived)


def test_a_composite_may_be_given() -> None:
    model = network()
    values = relevance(model, composite=composite("epsilon_plus"))
    assert not torch.allclose(values, relevance(model))


def test_a_rule_that_is_none_is_refused_at_once() -> None:
    model = network()
    model.layers[0].rule = "gamma"
    with pytest.raises(TypeError, match="rule"):
        ours.LRP(model)


def test_what_has_no_rule_is_told_or_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Cumulated(), nn.Linear(4, 2)).double().eval()
    with pytest.warns(UserWarning, match="cumprod"):
        ours.LRP(model).attribute(rows(2, 4), 1)
    with pytest.raises(UncoveredOperations, match="cumprod"):
        ours.LRP(model, strict=True).attribute(rows(2, 4), 1)


class Cumulated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumprod(1)


def test_which_rules_are_applied_is_printed_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    model.layers[6].rule = lrp_rules.GammaRule()
    ours.LRP(model).attribute(X, 1, verbose=True)
    printed = capsys.readouterr().out
    assert "Gamma" in printed
    assert "layers.6" in printed


def test_the_model_is_left_as_it_was() -> None:
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pointers = [p.data_ptr() for p in model.parameters()]
    ours.LRP(model, composite=composite("epsilon_alpha2_beta1")).attribute(X, 1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [p.data_ptr() for p in model.parameters()] == pointers
    assert not any(hasattr(module, "rule") for module in model.modules())
