"""Layers that the target does not use, or that are not the only way through the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, Site, StopReason, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

FAMILY = ("conductance", "internal_influence", "neuron_conductance", "layer_gradient_shap")
AT_SITE = (
    "integrated_gradients",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    "expected_gradients",
    "gradient_shap",
    "smooth_grad",
    "saliency",
    "input_x_gradient",
    "guided_backprop",
    "deconvolution",
)


class Ways(nn.Module):
    """One layer that nothing uses, and one that the input also passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(4, 3)
        self.branch = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.head(x.square() + self.branch(x).tanh())


def ways() -> Ways:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Ways().double().eval()


@pytest.mark.parametrize("tolerance", [None, 0.05])
@pytest.mark.parametrize("name", [*FAMILY, *AT_SITE])
def test_a_layer_that_the_target_does_not_use_contributes_nothing(
    name: str, tolerance: float | None
) -> None:
    asked = Explicand.of(
        numbers(2, 4),
        target=1,
        baselines=numbers(2, 4, seed=1),
        at=Site("unused"),
        tolerance=tolerance if METHODS[name].traits.tolerance else None,
    )
    answer = explain(ways(), METHODS[name](), asked)
    assert not any(bool(t.any()) for t in answer.values)
    assert all(bool(t.isfinite().all()) for t in answer.values)


@pytest.mark.parametrize("tolerance", [0.05, 0.01])
@pytest.mark.parametrize("name", FAMILY)
def test_a_layer_beside_which_another_way_leads_keeps_to_a_tolerance(
    name: str, tolerance: float
) -> None:
    asked = Explicand.of(
        numbers(1, 4),
        target=1,
        baselines=numbers(1, 4, seed=1),
        at=Site("branch"),
        tolerance=tolerance,
    )
    model = ways()
    answer = explain(model, METHODS[name](), asked)
    finely = {} if name == "layer_gradient_shap" else {"n_steps": 2000}
    assert answer.stop_reason is StopReason.CONVERGED
    assert answer.rows_used < 200
    if finely:
        exact = explain(
            model,
            resolve(METHODS[name], finely),
            Explicand.of(*asked.inputs, target=1, baselines=asked.baselines, at=asked.at),
        )
        off = (answer.values[0] - exact.values[0]).abs().sum() / exact.values[0].abs().sum()
        assert float(off) <= tolerance


@pytest.mark.parametrize("values", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.traits.tolerance])
def test_values_that_are_not_finite_never_meet_a_tolerance(name: str, values: float) -> None:
    model = nn.Sequential(nn.Identity())

    class Infinite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x * 1.0).sum(1) * values

    layer = METHODS[name].traits.layer in {"required", "through"}
    parameters = {"sliding_window_shapes": (2,)} if name == "occlusion" else {}
    asked = Explicand.of(
        numbers(1, 5),
        baselines=0.0,
        tolerance=0.05,
        at=Site("layer") if layer else Site("", "input"),
    )
    answer = explain(Infinite(), resolve(METHODS[name], parameters), asked)
    if any(not bool(t.isfinite().all()) for t in answer.values):
        assert answer.stop_reason is StopReason.EXHAUSTED
        assert answer.relative_error is not None
        assert bool(answer.relative_error.isnan().all())
