"""What every gradient method of the facade promises, whatever it computes."""

from __future__ import annotations

import copy
import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from captum import attr as captum
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from adcaptum import attr
from tests.captum_oracle import ours
from tests.gradient_calls import AT_LAYERS, CALLS, RANDOM, WITH_BATCHES, X, explain
from tests.models import mlp, numbers


@pytest.mark.parametrize("name", CALLS)
def test_properties_are_captums(name: str) -> None:
    model = mlp()
    construct = CALLS[name].construct(model)
    here, there = getattr(attr, name)(*construct), getattr(captum, name)(*construct)
    assert here.multiplies_by_inputs == there.multiplies_by_inputs
    assert here.has_convergence_delta() == there.has_convergence_delta()
    assert here.forward_func is model
    with pytest.raises(NotImplementedError, match=f"attribute_future is not .* for {name}"):
        here.attribute_future()


def assert_untouched(model: nn.Module, state: dict[str, Tensor], x: Tensor, before: Tensor) -> None:
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(m._backward_hooks or m._backward_pre_hooks for m in model.modules())
    assert all(torch.equal(t, state[key]) for key, t in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None


class Fails(nn.Module):
    """A layer that fails."""

    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_left_behind(name: str) -> None:
    model, x = mlp(), X.clone()
    state = copy.deepcopy(model.state_dict())
    explain(name, model, x)
    assert_untouched(model, state, x, X)


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_left_behind_by_a_failure(name: str) -> None:
    """B33: Captum leaves requires_grad on the inputs."""
    model, x = nn.Sequential(*list(mlp().children())[:2], Fails()), X.clone()
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError):
        explain(name, model, x)
    assert_untouched(model, state, x, X)


@pytest.mark.parametrize("name", CALLS)
def test_the_seed_of_torch_decides_chance_and_nothing_else(name: str) -> None:
    model, call = mlp(), CALLS[name]

    def drawn() -> Any:
        return ours(name, call.construct(model), X, **call.arguments)

    torch.manual_seed(1)
    first, state = drawn(), torch.random.get_rng_state()
    second = drawn()
    torch.manual_seed(1)
    torch.testing.assert_close(drawn(), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    if name in RANDOM:
        assert not torch.equal(first, second)
    else:
        torch.testing.assert_close(first, second)
        torch.manual_seed(1)
        assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", CALLS)
def test_an_example_is_explained_alone_as_among_others(name: str) -> None:
    """B18: Captum's draws depend on the batch, and not on torch's seed."""
    model, call = mlp(), CALLS[name]
    together = explain(name, model)
    for i in range(3):
        arguments = dict(call.arguments)
        if "target" in arguments:
            arguments["target"] = arguments["target"][i]
        torch.manual_seed(5)
        alone = ours(name, call.construct(model), X[i : i + 1], **arguments)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_threads_that_share_a_model_get_the_sequential_answer(name: str) -> None:
    """Of 160 calls of Captum's LayerIntegratedGradients 135 fail or are wrong."""
    model, call = mlp(), CALLS[name]
    arguments = dict(call.arguments)
    if "n_steps" in inspect.signature(getattr(attr, name).attribute).parameters:
        arguments["n_steps"] = 4
    if name in RANDOM:  # one baseline, and a gradient that is the same along the line
        model = nn.Sequential(*(layer for layer in mlp() if isinstance(layer, nn.Linear)))  # type: ignore[attr-defined]
    method = getattr(attr, name)(*call.construct(model))
    points = [numbers(3, 8, seed=seed) for seed in range(20)]
    expected = [method.attribute(x, **arguments) for x in points]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(method.attribute, points[i % 20], **arguments) for i in range(160)]
    for i, job in enumerate(jobs):
        torch.testing.assert_close(job.result(), expected[i % 20], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CALLS)
def test_half_precision_runs_and_gives_float32(name: str, dtype: torch.dtype) -> None:
    exact = explain(name, mlp().float(), X.float())
    found = explain(name, mlp().to(dtype), X.to(dtype))
    assert found.dtype == torch.float32
    scale = float(exact.abs().max())
    torch.testing.assert_close(found, exact, rtol=0, atol=0.1 * scale)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in AT_LAYERS])
def test_a_traced_model_is_explained_as_the_model(name: str) -> None:
    model = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, X)
    torch.testing.assert_close(explain(name, traced), explain(name, model))


@pytest.mark.parametrize("name", CALLS)
def test_the_callers_grad_mode_does_not_matter(name: str) -> None:
    model = mlp()
    expected = explain(name, model)
    with torch.no_grad():
        torch.testing.assert_close(explain(name, model), expected)
    with torch.inference_mode():
        torch.testing.assert_close(explain(name, model, X.clone()), expected)


@pytest.mark.parametrize("name", CALLS)
def test_double_precision_stays(name: str) -> None:
    assert explain(name, mlp()).dtype == torch.float64


class Counting(nn.Module):
    """Notes how many rows each forward had."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return self.inner(x)

    def get_submodule(self, target: str) -> nn.Module:
        return self.inner.get_submodule(target)


@pytest.mark.parametrize("name", WITH_BATCHES)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_no_forward_has_more_rows_than_the_internal_batch_size(name: str, rows: int) -> None:
    """B20: Captum warns and takes at least as many rows as there are examples."""
    model = Counting(mlp())
    expected = explain(name, model)
    model.rows.clear()
    found = explain(name, model, internal_batch_size=rows)
    assert max(model.rows) == rows
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_call_gives_no_tensor_with_a_graph() -> None:
    for name in CALLS:
        assert not any(t.requires_grad for t in tree_leaves(explain(name, mlp())))
