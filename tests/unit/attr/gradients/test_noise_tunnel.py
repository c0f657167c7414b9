"""NoiseTunnel over the library's methods and over a user's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.engine.rows.moments import RunningMoments
from adcaptum.engine.rows.noise import Noisy
from tests.captum_oracle import assert_same, captums
from tests.models import mlp, numbers, two_inputs

X = numbers(3, 8)


class Squares(attr.Attribution):
    """A user's own way: the squares of the inputs, with notes of what it was given."""

    def __init__(self) -> None:
        super().__init__(lambda x: x)
        self.seen: list[dict[str, Any]] = []

    def attribute(self, inputs: Tensor, **kwargs: Any) -> Tensor:
        self.seen.append({"inputs": inputs, **kwargs})
        return inputs.square()


class OwnGradient(attr.GradientAttribution):
    """A user's own way that differentiates what it is given."""

    def attribute(self, inputs: Tensor, target: int) -> Tensor:
        (gradient,) = torch.autograd.grad(self.forward_func(inputs)[:, target].sum(), inputs)
        return gradient


def noisy(x: Tensor, samples: int, stdev: float, seed: int) -> Tensor:
    """The copies that a seed gives, (examples, samples, *features)."""
    rows = Noisy((x,), (x.new_full((1,) * x.dim(), stdev),), seed, 0, samples)
    return rows.take(0, len(rows))[0].unflatten(0, (len(x), samples))


def drawn_seed(manual: int) -> int:
    torch.manual_seed(manual)
    return int(torch.randint(1 << 62, ()))


@pytest.mark.parametrize("at_once", [None, 1, 4, 100])
def test_each_kind_is_its_definition(at_once: int | None) -> None:
    samples = noisy(X, 10, 0.5, drawn_seed(3)).square()
    expected = {
        "smoothgrad": samples.mean(1),
        "smoothgrad_sq": samples.square().mean(1),
        "vargrad": samples.var(1),
    }
    for kind, value in expected.items():
        torch.manual_seed(3)
        tunnel = attr.NoiseTunnel(Squares())
        found = tunnel.attribute(X, kind, 10, at_once, 0.5)
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)


def test_the_variance_of_gradients_is_unbiased_where_captums_is_not() -> None:
    """B16: Captum takes E[a^2] - E[a]^2, which is too small by (n - 1) / n."""
    x = torch.zeros(1, 4000)
    # The gradient is the input, so that its variance is that of the noise.
    arguments: dict[str, Any] = {"nt_type": "vargrad", "nt_samples": 2, "stdevs": 1.0, "abs": False}
    torch.manual_seed(0)
    mine = attr.NoiseTunnel(attr.Saliency(half_squares)).attribute(x, **arguments)
    theirs = captums_over("Saliency", (half_squares,), x, **arguments)
    assert float(mine.mean()) == pytest.approx(1, abs=0.1)
    assert float(theirs.mean()) == pytest.approx(0.5, abs=0.05)


def half_squares(x: Tensor) -> Tensor:
    return x.square().sum(1) / 2


def test_a_variance_does_not_cancel() -> None:
    """B16: f = 1e4 x + 1e-3 x^2 in float32, whose gradient's deviation is 2e-3 that of x."""

    def forward(x: Tensor) -> Tensor:
        return (1e4 * x + 1e-3 * x**2).sum(1)

    x = torch.ones(2, 3)
    arguments: dict[str, Any] = {"nt_type": "vargrad", "nt_samples": 50, "stdevs": 1.0}
    theirs = captums_over("Saliency", (forward,), x, **arguments)
    mine = attr.NoiseTunnel(attr.Saliency(forward)).attribute(x, **arguments)
    assert (mine >= 0).all()
    assert mine.max() < 1e-4
    assert theirs.abs().max() > 1e-2


def captums_over(name: str, construct: tuple[Any, ...], *args: Any, **kwargs: Any) -> Any:
    """Captum's NoiseTunnel over its own method."""
    from captum import attr as captum

    return captums("NoiseTunnel", (getattr(captum, name)(*construct),), *args, **kwargs)


LAYER = mlp()
LAYERS = (LAYER, LAYER[1])  # type: ignore[index]
METHODS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "Saliency": ((LAYER,), {"target": [0, 1, 2]}),
    "InputXGradient": ((LAYER,), {"target": torch.tensor([2, 0, 1])}),
    "IntegratedGradients": (
        (LAYER,),
        {
            "target": 1,
            "n_steps": 5,
            "baselines": numbers(3, 8, seed=2),
            "return_convergence_delta": True,
        },
    ),
    "GradientShap": ((LAYER,), {"target": 1, "baselines": torch.zeros(1, 8).double()}),
    "LayerActivation": (LAYERS, {}),
    "LayerGradientXActivation": (LAYERS, {"target": 1}),
    "LayerGradCam": (LAYERS, {"target": 1}),
    "LayerConductance": (LAYERS, {"target": 0, "n_steps": 20, "return_convergence_delta": True}),
    "InternalInfluence": (LAYERS, {"target": [0, 1, 2], "n_steps": 5}),
    "LayerIntegratedGradients": (LAYERS, {"target": 1, "n_steps": 5, "internal_batch_size": 64}),
    "NeuronGradient": (LAYERS, {"neuron_selector": 3}),
    "NeuronIntegratedGradients": (LAYERS, {"neuron_selector": (3,), "n_steps": 5}),
    "NeuronConductance": (LAYERS, {"neuron_selector": 3, "target": 1, "n_steps": 5}),
}


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_is_the_method_itself(name: str) -> None:
    construct, arguments = METHODS[name]
    method = getattr(attr, name)(*construct)
    if name == "GradientShap":
        arguments = {**arguments, "n_samples": 2000}
    plain = method.attribute(X, **arguments)
    smoothed = attr.NoiseTunnel(method).attribute(X, nt_samples=3, stdevs=0.0, **arguments)
    if "return_convergence_delta" in arguments:
        torch.testing.assert_close(smoothed[1], plain[1].repeat_interleave(3))
        smoothed, plain = smoothed[0], plain[0]
    tolerance = 0.02 if name == "GradientShap" else 1e-12
    torch.testing.assert_close(smoothed, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "GradientShap"])
def test_with_noise_it_has_captums_mean(name: str) -> None:
    construct, arguments = METHODS[name]
    arguments = {k: v for k, v in arguments.items() if k != "return_convergence_delta"}
    if name == "NeuronConductance":
        arguments["method"] = "gausslegendre"
    torch.manual_seed(0)
    settings: dict[str, Any] = {"nt_samples": 600, "nt_samples_batch_size": 200, "stdevs": 0.2}
    mine = attr.NoiseTunnel(getattr(attr, name)(*construct)).attribute(X, **settings, **arguments)
    theirs = captums_over(name, construct, X, **settings, **arguments)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.05 * float(theirs.abs().max()))


def test_containers_are_the_methods() -> None:
    model = two_inputs()
    inputs = (numbers(2, 4), numbers(2, 3))
    extra: dict[str, Any] = {"target": 1, "additional_forward_args": (numbers(2), 2.0)}
    smoothed = attr.NoiseTunnel(attr.Saliency(model)).attribute(inputs, stdevs=(0.1, 0.2), **extra)
    assert isinstance(smoothed, tuple)
    assert [tuple(t.shape) for t in smoothed] == [(2, 4), (2, 3)]
    layers = [model.get_submodule("a"), model.get_submodule("b")]
    at_layers = attr.NoiseTunnel(attr.LayerGradientXActivation(model, layers))
    found = at_layers.attribute(inputs, **extra)
    assert isinstance(found, list)
    assert [tuple(t.shape) for t in found] == [(2, 5), (2, 5)]


def test_arguments_of_each_example_are_repeated_for_its_copies() -> None:
    method = Squares()
    baselines, mask = numbers(3, 8), torch.zeros(3, 8, dtype=torch.int64)
    shared = torch.zeros(5)
    attr.NoiseTunnel(method).attribute(
        X,
        nt_samples=2,
        target=[7, 8, 9],
        baselines=(baselines, 0.5),
        feature_mask=mask,
        additional_forward_args=(torch.tensor([1, 2, 3]), shared, "word"),
    )
    (seen,) = method.seen
    assert seen["inputs"].shape == (6, 8)
    assert seen["target"] == [7, 7, 8, 8, 9, 9]
    assert torch.equal(seen["baselines"][0], baselines.repeat_interleave(2, 0))
    assert seen["baselines"][1] == 0.5
    assert torch.equal(seen["feature_mask"], mask.repeat_interleave(2, 0))
    assert seen["additional_forward_args"][0].tolist() == [1, 1, 2, 2, 3, 3]
    assert seen["additional_forward_args"][1] is shared
    assert seen["additional_forward_args"][2] == "word"


def test_baselines_may_be_drawn_from_a_distribution() -> None:
    method = Squares()
    distribution = torch.arange(4.0).view(4, 1).expand(4, 8)
    attr.NoiseTunnel(method).attribute(
        X, nt_samples=50, baselines=distribution, draw_baseline_from_distrib=True
    )
    drawn = method.seen[0]["baselines"]
    assert drawn.shape == (150, 8)
    assert set(drawn[:, 0].tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_a_users_method_gets_inputs_that_it_can_differentiate() -> None:
    model = mlp()
    found = attr.NoiseTunnel(OwnGradient(model)).attribute(X, stdevs=0.0, target=1)
    expected = attr.Saliency(model).attribute(X, target=1, abs=False)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize("at_once", [None, 7, 100])
def test_no_more_copies_are_held_than_were_allowed(at_once: int | None) -> None:
    method = Squares()
    attr.NoiseTunnel(method).attribute(X, nt_samples=200, nt_samples_batch_size=at_once)
    sizes = [len(seen["inputs"]) // 3 for seen in method.seen]
    assert sum(sizes) == 200
    assert max(sizes) <= min(at_once or 64, 64)


def test_its_own_properties_are_those_of_the_method() -> None:
    integrated = attr.NoiseTunnel(attr.IntegratedGradients(LAYER))
    assert integrated.multiplies_by_inputs
    assert integrated.has_convergence_delta()
    plain = attr.NoiseTunnel(attr.Saliency(LAYER))
    assert not plain.multiplies_by_inputs
    assert not plain.has_convergence_delta()
    assert plain.forward_func is LAYER
    assert plain.get_name() == "Noise Tunnel"


def test_half_precision_has_noise_too() -> None:
    """B17: Captum's noise is float32, at which a bfloat16 model fails."""
    model = nn.Linear(3, 2).to(torch.bfloat16)
    x = torch.ones(2, 3, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError):
        captums_over("Saliency", (model,), x, target=1)
    found = attr.NoiseTunnel(attr.Saliency(model)).attribute(x, target=1)
    assert_same(found, model.weight[1].abs().float().expand(2, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"stdevs": 1},
        {"stdevs": (0.1, 0.2)},
        {"nt_type": "smooth"},
        {"nt_samples": 0},
        {"nt_samples_batch_size": 0},
    ],
    ids=str,
)
def test_wrong_settings_are_assertion_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        attr.NoiseTunnel(attr.Saliency(LAYER)).attribute(X, target=1, **wrong)


def test_a_method_that_says_nothing_of_each_example_is_refused() -> None:
    class Whole(Squares):
        def attribute(self, inputs: Tensor, **kwargs: Any) -> Tensor:
            return inputs.sum(0, keepdim=True)

    with pytest.raises(AssertionError, match="attribution_method"):
        attr.NoiseTunnel(Whole()).attribute(X)


def test_a_method_that_explains_several_outputs_is_smoothed_for_each() -> None:
    class Twice(Squares):
        def attribute(self, inputs: Tensor, **kwargs: Any) -> Tensor:
            return torch.stack([inputs, 2 * inputs], 1).flatten(0, 1)

    found = attr.NoiseTunnel(Twice()).attribute(X, stdevs=0.0)
    torch.testing.assert_close(found, torch.stack([X, 2 * X], 1).flatten(0, 1))


def test_moments_in_the_running_are_those_of_all() -> None:
    samples = numbers(3, 50, 8)
    running = RunningMoments()
    for part in samples.split([1, 20, 29], 1):
        running.add((part,))
    torch.testing.assert_close(running.variance[0], samples.var(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["IntegratedGradients", "DeepLift", "FeatureAblation"])
def test_what_is_laid_along_the_last_dimension_is_not_repeated(name: str) -> None:
    """Three features, three examples: a tensor (3,) has no row for each example."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = numbers(3, 3)
    arguments: dict[str, Any] = {"baselines": torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64)}
    if name == "FeatureAblation":
        arguments["feature_mask"] = torch.tensor([0, 0, 1])
    method = getattr(attr, name)(model)
    smoothed = attr.NoiseTunnel(method).attribute(x, nt_samples=2, stdevs=0.0, **arguments)
    torch.testing.assert_close(smoothed, method.attribute(x, **arguments))
