"""Rows of the table of differences (docs/explanation/differences-from-captum.md)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum import attr as captum
from torch import Tensor, nn

from adcaptum import attr
from tests.captum_oracle import assert_same, captums, ours, silently

X = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))


def seeded(model: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return model().eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmax_at_equal_large_logits_is_complete(dtype: torch.dtype) -> None:
    logits = torch.full((2, 3), 1e6, dtype=dtype)
    model = nn.Sequential(nn.Softmax(1))
    theirs = captums("DeepLift", (model,), logits, target=0, return_convergence_delta=True)
    assert not any(t.any() for t in theirs)
    mine = ours("DeepLift", (model,), logits, target=0)
    # The derivative of softmax at equal logits, 2/9 and -1/9, times the difference.
    slope = torch.tensor([2.0, -1.0, -1.0], dtype=dtype) / 9
    torch.testing.assert_close(mine, (1e6 * slope).expand(2, 3), rtol=1e-6, atol=0.0)
    assert_same(mine, ours("IntegratedGradients", (model,), logits, target=0), 1e-6)


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own, self.twice, self.relu = nn.Linear(3, 3), nn.Linear(3, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.twice(self.relu(self.twice(self.own(x)))))


class Unrolled(nn.Module):
    """The same without a module that is used twice."""

    def __init__(self, reused: Any) -> None:
        super().__init__()
        again = nn.Linear(3, 3)
        again.load_state_dict(reused.twice.state_dict())
        self.layers = nn.Sequential(reused.own, reused.twice, nn.ReLU(), again, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def test_a_module_that_is_used_twice_is_propagated_each_time() -> None:
    model = seeded(Reused)
    with pytest.raises(RuntimeError, match="used more than once"):
        captums("LRP", (model,), X, target=0)
    mine = ours("LRP", (model,), X, target=0)
    assert_same(mine, captums("LRP", (Unrolled(model).eval(),), X, target=0))


def test_a_sigmoid_passes_relevance_like_other_activations() -> None:
    def built(activation: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2)).eval()

    with pytest.raises(TypeError, match="no rule defined"):
        captums("LRP", (built(nn.Sigmoid()),), X, target=0)
    mine = ours("LRP", (built(nn.Sigmoid()),), X, target=0)
    ruled = built(nn.Sigmoid())
    from captum.attr._utils.lrp_rules import IdentityRule

    ruled[1].rule = IdentityRule()  # type: ignore[index]
    assert_same(mine, silently(captum.LRP(ruled).attribute, X, target=0), 1e-4)


@pytest.mark.parametrize("number", [0.5, 0])
def test_a_number_is_a_distribution_of_one_baseline(number: float) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(AssertionError, match="more than one example"):
        captums("DeepLiftShap", (model,), X, number, target=0)
    mine = ours("DeepLiftShap", (model,), X, number, target=0)
    assert_same(mine, captums("DeepLift", (model,), X, number, target=0))
    assert_same(
        mine, ours("DeepLiftShap", (model,), X, torch.full((2, 3), float(number)), target=0)
    )


class Unused(nn.Module):
    """Calls a layer that the output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.last = nn.Linear(3, 4), nn.Linear(3, 5), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        found: Tensor = self.last(self.used(x).relu())
        return found


UNUSED: dict[str, dict[str, Any]] = {
    "LayerDeepLift": {},
    "LayerDeepLiftShap": {"baselines": torch.zeros(2, 3)},
    "LayerLRP": {},
    "LayerIntegratedGradients": {},
    "LayerConductance": {},
    "LayerGradientShap": {"baselines": torch.zeros(2, 3)},
    "LayerGradientXActivation": {},
    "InternalInfluence": {},
    "LayerGradCam": {},
    "LayerFeatureAblation": {},
    "LayerFeaturePermutation": {},
}


@pytest.mark.parametrize("name", UNUSED)
@pytest.mark.parametrize("of_input", [False, True])
def test_a_layer_that_the_target_does_not_use_has_zeros(name: str, *, of_input: bool) -> None:
    model: Any = seeded(Unused)
    arguments = UNUSED[name] | {"target": 1}
    if name != "LayerFeaturePermutation":
        arguments["attribute_to_layer_input"] = of_input
    found = ours(name, (model, model.unused), X, **arguments)
    width = 3 if of_input and "attribute_to_layer_input" in arguments else 5
    if name == "LayerGradCam":
        width = 1
    assert_same(found, torch.zeros(3, width))


@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap", "LayerLRP"])
def test_its_delta_is_what_the_layer_leaves(name: str) -> None:
    model: Any = seeded(Unused)
    _, delta = ours(
        name, (model, model.unused), X, **UNUSED[name], target=1, return_convergence_delta=True
    )
    output = model(X)[:, 1].detach()
    change = output if name == "LayerLRP" else model(X * 0)[:, 1].detach() - output
    assert_same(delta, change.repeat_interleave(len(delta) // 3))


def test_a_layer_that_is_not_called_is_refused() -> None:
    model: Any = seeded(Unused)
    model.lonely = nn.Linear(3, 3)
    for name in ("LayerDeepLift", "LayerLRP"):
        with pytest.raises(attr.errors.UnfitModel, match="does not reach"):
            ours(name, (model, model.lonely), X, target=1)
