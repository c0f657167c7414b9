"""Numbers of the gradient methods that are not, or not only, Captum's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum import attr as captum
from captum.testing.helpers.basic_models import BasicModel_MultiLayer
from torch import Tensor

from adcaptum import attr
from tests.captum_oracle import captums, ours
from tests.gradient_calls import CALLS, X, explain
from tests.models import cnn, mlp, numbers


@pytest.mark.parametrize(
    "name", ["IntegratedGradients", "LayerIntegratedGradients", "LayerConductance"]
)
def test_attributions_are_complete_in_float64(name: str) -> None:
    call, model = CALLS[name], mlp()
    steps = 2000 if name == "LayerConductance" else 60
    values, delta = explain(name, model, return_convergence_delta=True, n_steps=steps)
    # A sum of differences converges with the number of steps, a quadrature at once.
    assert delta.abs().max() < (2e-2 if name == "LayerConductance" else 1e-12)
    method = getattr(attr, name)(*call.construct(model))
    again = method.compute_convergence_delta(values, 0.3, X, target=[0, 2, 1])
    torch.testing.assert_close(again, delta, rtol=1e-9, atol=1e-12)


def test_the_conductances_of_all_neurons_are_the_integrated_gradients() -> None:
    model = mlp()
    integrated = explain("IntegratedGradients", model, method="riemann_middle")
    every = ours(
        "NeuronConductance",
        (model, model.get_submodule("1")),
        X,
        (slice(None),),
        0.3,
        [0, 2, 1],
        method="riemann_middle",
    )
    torch.testing.assert_close(every, integrated, rtol=1e-12, atol=1e-12)


def test_a_block_of_neurons_conducts_what_its_neurons_do() -> None:
    """Captum multiplies the sums of a block's gradients, which is not the block's conductance."""
    model = cnn()
    construct = (model, model.get_submodule("0"))
    x = numbers(2, 1, 8, 8)

    def conductance(selector: Any) -> Tensor:
        found: Tensor = ours("NeuronConductance", construct, x, selector, target=1, n_steps=5)
        return found

    block = conductance((2, slice(1, 3), 4))
    torch.testing.assert_close(block, conductance((2, 1, 4)) + conductance((2, 2, 4)))


def test_the_trapezoid_sums_to_one() -> None:
    """B1: Captum's weights sum to (n - 1) / n."""
    x = torch.ones(1, 1, dtype=torch.float64)
    for n in (2, 50):
        construct = (lambda t: t[:, 0],)
        mine = ours("IntegratedGradients", construct, x, n_steps=n, method="riemann_trapezoid")
        assert float(mine) == pytest.approx(1, abs=1e-12)
        theirs = captum.IntegratedGradients(*construct).attribute(
            x, n_steps=n, method="riemann_trapezoid"
        )
        assert float(theirs) == pytest.approx((n - 1) / n)


def test_the_weights_of_the_nodes_are_not_rounded() -> None:
    """B19: Captum's are float32, so that its float64 integrals are off by 1e-9."""
    x = torch.full((1, 1), 1.7, dtype=torch.float64)
    construct = (lambda t: t[:, 0] ** 3,)
    exact = 1.7**3
    assert abs(float(ours("IntegratedGradients", construct, x)) - exact) < 1e-14
    assert abs(float(captum.IntegratedGradients(*construct).attribute(x)) - exact) > 1e-12


def test_a_baseline_of_several_inputs_is_drawn_as_a_whole() -> None:
    """Captum draws a row for each input: pairs that are no baseline."""

    def difference(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(1)

    inputs, rows = (X, X), numbers(4, 8, seed=1)
    torch.manual_seed(0)
    mine: Any = attr.GradientShap(difference).attribute(inputs, (rows, rows), n_samples=20)
    theirs = captum.GradientShap(difference).attribute(inputs, (rows, rows), n_samples=20)
    assert not any(t.any() for t in mine)
    assert all(t.abs().max() > 0.1 for t in theirs)


def test_an_index_into_a_layer_with_several_tensors_is_one_into_the_first() -> None:
    model = BasicModel_MultiLayer(multi_input_module=True)
    construct, x = (model, model.multi_relu), numbers(3, 3).float()
    with pytest.raises(AssertionError):
        captums("NeuronGradient", construct, x, 2)
    torch.testing.assert_close(
        ours("NeuronGradient", construct, x, 2),
        ours("NeuronGradient", construct, x, lambda t: t[0][:, 2]),
    )


@pytest.mark.parametrize("name", ["GradientShap", "LayerGradientShap"])
def test_the_deltas_of_samples_tell_what_their_mean_lacks(name: str) -> None:
    model, call = mlp(), CALLS[name]
    values, deltas = explain(name, model, n_samples=7, return_convergence_delta=True)
    torch.testing.assert_close(values, explain(name, model, n_samples=7))
    assert deltas.shape == (21,)
    with torch.no_grad():
        start = model(call.arguments["baselines"])
        change = (model(X) - start)[range(3), [0, 2, 1]]
    torch.testing.assert_close(deltas.view(3, 7).mean(1), values.sum(1) - change)


def test_noise_on_each_input_may_have_its_own_deviation() -> None:
    def squares(x: Tensor, y: Tensor) -> Tensor:
        return x.square().sum(1) + y.square().sum(1)

    method = attr.GradientShap(squares)
    baselines = (torch.zeros(1, 8).double(), torch.zeros(1, 8).double())
    torch.manual_seed(0)
    with_noise: Any = method.attribute((X, X), baselines, n_samples=4, stdevs=(0.0, 0.5))
    torch.manual_seed(0)
    without: Any = method.attribute((X, X), baselines, n_samples=4)
    torch.testing.assert_close(with_noise[0], without[0])
    assert not torch.allclose(with_noise[1], without[1])
