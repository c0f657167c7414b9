"""What every gradient method of the facade promises, whatever it computes."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from captum import attr as captum
from captum.testing.helpers.basic_models import BasicModel_MultiLayer
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from adcaptum import attr
from tests.captum_oracle import captums, ours
from tests.models import cnn, mlp, numbers


@dataclass(frozen=True)
class Call:
    """How a class is called for a model with a layer "1" of 16 tanh neurons."""

    layer: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    def construct(self, model: nn.Module) -> tuple[Any, ...]:
        return (model, model.get_submodule("1")) if self.layer else (model,)


TARGET = {"target": [0, 2, 1]}
BASELINES = {"baselines": 0.3}
ONE_ROW = {"baselines": torch.full((1, 8), 0.3, dtype=torch.float64)}
NEURON = {"neuron_selector": 5}
CALLS = {
    "Saliency": Call(False, TARGET),
    "InputXGradient": Call(False, TARGET),
    "IntegratedGradients": Call(False, TARGET | BASELINES),
    "GradientShap": Call(False, TARGET | ONE_ROW),
    "LayerActivation": Call(True),
    "LayerGradientXActivation": Call(True, TARGET),
    "LayerGradCam": Call(True, TARGET),
    "LayerConductance": Call(True, TARGET | BASELINES),
    "InternalInfluence": Call(True, TARGET | BASELINES),
    "LayerIntegratedGradients": Call(True, TARGET | BASELINES),
    "LayerGradientShap": Call(True, TARGET | ONE_ROW),
    "NeuronGradient": Call(True, NEURON),
    "NeuronIntegratedGradients": Call(True, NEURON | BASELINES),
    "NeuronConductance": Call(True, NEURON | TARGET | BASELINES),
    "NeuronGradientShap": Call(True, NEURON | ONE_ROW),
}
RANDOM = {"GradientShap", "LayerGradientShap", "NeuronGradientShap"}
AT_LAYERS = {name for name, call in CALLS.items() if call.layer}
WITH_BATCHES = [
    name
    for name in CALLS
    if "internal_batch_size" in inspect.signature(getattr(attr, name).attribute).parameters
]
X = numbers(3, 8)


def explain(name: str, model: nn.Module, x: Tensor = X, **more: Any) -> Any:
    call = CALLS[name]
    if name in RANDOM:
        torch.manual_seed(5)
    return ours(name, call.construct(model), x, **call.arguments, **more)


@pytest.mark.parametrize("name", [*CALLS, "NoiseTunnel"])
def test_signatures_are_captums(name: str) -> None:
    def parameters(call: Callable[..., Any]) -> list[tuple[str, object, object]]:
        found = inspect.signature(call).parameters.values()
        return [(p.name, p.default, p.kind) for p in found]

    here, there = getattr(attr, name), getattr(captum, name)
    assert parameters(here) == parameters(there)
    assert parameters(here.attribute) == parameters(there.attribute)
    assert here.get_name() == there.get_name()


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


@pytest.mark.parametrize("name", WITH_BATCHES)
def test_an_internal_batch_size_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(AssertionError, match="at least 1"):
        explain(name, mlp(), internal_batch_size=0)


@pytest.mark.parametrize("name", CALLS)
def test_a_model_in_training_mode_is_refused(name: str) -> None:
    """B32: Captum lets the statistics of a batch norm change."""
    norm = nn.BatchNorm1d(16)
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.Linear(16, 3)).double()
    with pytest.raises(AssertionError, match=r"model\.eval\(\)"):
        explain(name, model)
    assert norm.running_mean is not None
    assert not norm.running_mean.any()


@pytest.mark.parametrize("name", [name for name, c in CALLS.items() if "target" in c.arguments])
@pytest.mark.parametrize(
    ("target", "error"),
    [
        (3, IndexError),
        ([0, 1, -4], IndexError),
        ((0, 0), AssertionError),
        (None, AssertionError),
        ([0, 1], AssertionError),
        (torch.tensor([0, 1]), AssertionError),
        (torch.tensor([0.0, 1.0, 2.0]), AssertionError),
        (1.0, AssertionError),
        ("1", AssertionError),
        ([0.0, 1.0, 2.0], AssertionError),
    ],
    ids=str,
)
def test_a_target_that_does_not_fit_is_captums_error(
    name: str, target: Any, error: type[Exception]
) -> None:
    call, model = CALLS[name], mlp()
    with pytest.raises(error, match="target"):
        ours(name, call.construct(model), X, **{**call.arguments, "target": target})


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_a_tensor_or_a_tuple(name: str) -> None:
    with pytest.raises(AssertionError, match="inputs"):
        explain(name, mlp(), [X])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [name for name, c in CALLS.items() if "baselines" in c.arguments and name not in RANDOM]
)
@pytest.mark.parametrize(
    "baselines", ["zero", [0.0], torch.zeros(2, 8), torch.zeros(1, 7), (0.0, 0.0)], ids=str
)
def test_baselines_that_do_not_fit_are_assertion_errors(name: str, baselines: Any) -> None:
    call = CALLS[name]
    with pytest.raises(AssertionError, match="baselines"):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "baselines": baselines})


@pytest.mark.parametrize("name", sorted(RANDOM))
@pytest.mark.parametrize("baselines", [0.0, None, (torch.zeros(1, 8), torch.zeros(1, 8))], ids=str)
def test_a_distribution_is_a_tensor_for_each_input(name: str, baselines: Any) -> None:
    call = CALLS[name]
    with pytest.raises(AssertionError, match="baselines"):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "baselines": baselines})


@pytest.mark.parametrize("name", WITH_BATCHES)
def test_an_unknown_rule_or_no_step_is_an_assertion_error(name: str) -> None:
    with pytest.raises(AssertionError, match="method"):
        explain(name, mlp(), method="simpson")
    with pytest.raises(AssertionError, match="n_steps"):
        explain(name, mlp(), n_steps=0)


@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_a_layer_that_is_not_reached_is_an_assertion_error(name: str) -> None:
    model = mlp()
    call = CALLS[name]
    with pytest.raises(AssertionError, match="does not reach"):
        ours(name, (model, nn.Linear(2, 2)), X, **call.arguments)


@pytest.mark.parametrize("name", [name for name in CALLS if "Neuron" in name])
@pytest.mark.parametrize(
    ("selector", "error"),
    [(16, IndexError), ((0, 0), AssertionError), ("0", AssertionError)],
    ids=str,
)
def test_a_neuron_that_is_not_there_is_captums_error(
    name: str, selector: Any, error: type[Exception]
) -> None:
    call = CALLS[name]
    with pytest.raises(error):
        ours(name, call.construct(mlp()), X, **{**call.arguments, "neuron_selector": selector})


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


def test_a_call_gives_no_tensor_with_a_graph() -> None:
    for name in CALLS:
        assert not any(t.requires_grad for t in tree_leaves(explain(name, mlp())))


def test_a_baseline_of_several_inputs_is_drawn_as_a_whole() -> None:
    """Captum draws a row for each input: pairs that are no baseline."""

    def difference(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(1)

    inputs, rows = (X, X), numbers(4, 8, seed=1)
    torch.manual_seed(0)
    mine = attr.GradientShap(difference).attribute(inputs, (rows, rows), n_samples=20)
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
