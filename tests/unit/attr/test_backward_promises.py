"""What every class with a rule on operations promises, whatever the rule."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr

BASELINES = torch.full((1, 1, 6, 6), 0.2, dtype=torch.float64)
TARGET: dict[str, Any] = {"target": 1}
NEURON: dict[str, Any] = {"neuron_selector": (1, 2, 2)}
CALLS: dict[str, dict[str, Any]] = {
    "Deconvolution": TARGET,
    "GuidedBackprop": TARGET,
    "GuidedGradCam": TARGET,
    "NeuronDeconvolution": NEURON,
    "NeuronGuidedBackprop": NEURON,
    "DeepLift": TARGET,
    "DeepLiftShap": TARGET | {"baselines": BASELINES},
    "LayerDeepLift": TARGET,
    "LayerDeepLiftShap": TARGET | {"baselines": BASELINES},
    "NeuronDeepLift": NEURON,
    "NeuronDeepLiftShap": NEURON | {"baselines": BASELINES},
    "LRP": TARGET,
    "LayerLRP": TARGET,
}


def images(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, 6, 6, generator=generator, dtype=torch.float64)


def network(*last: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
        return nn.Sequential(*layers, *last).double().eval()


def method(name: str, model: nn.Sequential) -> Any:
    inside = name.startswith(("Layer", "Neuron")) or name == "GuidedGradCam"
    return getattr(attr, name)(model, model[1]) if inside else getattr(attr, name)(model)


@pytest.mark.parametrize("name", CALLS)
def test_threads_that_share_a_model_get_the_sequential_answer(name: str) -> None:
    explained, points = method(name, network()), [images(seed) for seed in range(10)]
    expected = [explained.attribute(x, **CALLS[name]) for x in points]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(explained.attribute, points[i % 10], **CALLS[name]) for i in range(160)]
    for i, job in enumerate(jobs):
        torch.testing.assert_close(job.result(), expected[i % 10], rtol=1e-9, atol=1e-12)


class Fails(nn.Module):
    """A layer that fails."""

    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_left_behind(name: str, fails: bool) -> None:
    model, x = network(*[Fails()] * fails), images()
    state = copy.deepcopy(model.state_dict())
    if fails:
        with pytest.raises(ZeroDivisionError):
            method(name, model).attribute(x, **CALLS[name])
    else:
        method(name, model).attribute(x, **CALLS[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(m._backward_hooks or m._backward_pre_hooks for m in model.modules())
    assert all(torch.equal(t, state[key]) for key, t in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, images())
    assert not x.requires_grad


@pytest.mark.parametrize("name", CALLS)
def test_an_example_is_explained_alone_as_among_others(name: str) -> None:
    explained, x = method(name, network()), images()
    together = explained.attribute(x, **CALLS[name])
    for i in range(2):
        alone = explained.attribute(x[i : i + 1], **CALLS[name])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CALLS)
def test_half_precision_runs_and_gives_float32(name: str, dtype: torch.dtype) -> None:
    def narrowed(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) else value

    exact = method(name, network()).attribute(images(), **CALLS[name])
    arguments = {key: narrowed(value) for key, value in CALLS[name].items()}
    found = method(name, network().to(dtype)).attribute(images().to(dtype), **arguments)
    assert found.dtype == torch.float32
    # On average: a unit near zero may be on in one precision and off in the other.
    assert float((found - exact).abs().mean()) < 0.1 * float(exact.abs().mean())


@pytest.mark.parametrize("name", CALLS)
def test_futures_are_not_taken(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"attribute_future is not .* for {name}"):
        method(name, network()).attribute_future()


class _TwoBranches(nn.Module):
    """One of which the output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.used = nn.Linear(3, 4), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.used(x).relu()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap", "LayerLRP"])
def test_a_layer_that_the_target_does_not_use_gets_zeros(name: str, frozen: bool) -> None:
    model = _TwoBranches().requires_grad_(not frozen)
    given = {} if name == "LayerLRP" else {"baselines": torch.zeros(2, 3)}
    answer = getattr(attr, name)(model, model.unused).attribute(torch.ones(2, 3), target=1, **given)
    torch.testing.assert_close(answer, torch.zeros(2, 4))


class _Leaving(_TwoBranches):
    """The output depends on the layer, by a way that autograd does not know."""

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) * torch.from_numpy(self.unused(x).detach().numpy()).sum(1, keepdim=True)


@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap", "LayerLRP"])
def test_a_layer_whose_values_leave_torch_is_no_layer_without_use(name: str) -> None:
    model = _Leaving()
    given = {} if name == "LayerLRP" else {"baselines": torch.zeros(2, 3)}
    with pytest.raises(Exception, match="without autograd"):
        getattr(attr, name)(model, model.unused).attribute(torch.ones(2, 3), target=1, **given)
