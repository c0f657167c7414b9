"""What every method of the registry promises, on a vector model and an image model."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import (
    INPUT,
    METHODS,
    Attribution,
    Explicand,
    InvalidArgument,
    Output,
    Site,
    explain,
)
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import describe, resolve
from tests.models import cnn, mlp, numbers, signals, text_classifier

CASES = [
    pytest.param(name, shape, id=f"{name}-{shape}")
    for name in METHODS
    for shape in ("vector", "image")
]
# What asks for the same, only less of it.
QUICK = {
    "expected_gradients": {"n_samples": 40},
    "guided_integrated_gradients": {"n_steps": 15},
    "rise": {"n_samples": 60},
}
# Their baselines are a distribution, the same for all examples.
A_DISTRIBUTION = {"deep_lift_shap", "expected_gradients", "gradient_shap", "layer_gradient_shap"}
# Of all coalitions of 8 features these have no chance left: with fewer they have.
FEWER_SAMPLES = {"kernel_shap": {"n_samples": 60}, "leverage_shap": {"n_samples": 60}}


def needs_mask(method: Method, explicand: Explicand) -> bool:
    """Whether 64 pixels are too many features, or take long."""
    if not method.traits.feature_masks:
        return False
    try:
        return method.rows(explicand) > 100 * explicand.count
    except InvalidArgument:
        return True


# These look at a layer along a way through the inputs, which token ids do not have.
THROUGH_INPUTS = {
    "conductance",
    "internal_influence",
    "layer_gradient_shap",
    "neuron_conductance",
}


def case(name: str, shape: str) -> tuple[nn.Module, Method, Explicand]:
    """A model, a method and five examples with targets and baselines of their own."""
    method = resolve(METHODS[name], QUICK.get(name, {}))
    inside = needs_layer(method.traits.layer)
    target = Output(torch.tensor([[0], [2], [1], [2], [0]]))
    if shape == "vector":
        x, x0 = numbers(5, 8), numbers(5, 8, seed=1)
        # What must explain a layer wants one with channels.
        model, at = (signals(), Site("2")) if inside else (mlp(), INPUT)
        return model, method, Explicand((x,), target, (x0,), at, seed=7)
    mask = ((torch.arange(8)[:, None] // 4) * 2 + torch.arange(8)[None] // 4).view(1, 1, 8, 8)
    x, x0 = numbers(5, 1, 8, 8), numbers(5, 1, 8, 8, seed=1)
    at = Site("2") if inside else INPUT
    explicand = Explicand((x,), target, (x0,), at, seed=7)
    if needs_mask(method, explicand):
        explicand = replace(explicand, feature_mask=(mask,))
    return cnn(), method, explicand


def example(explicand: Explicand, i: int) -> Explicand:
    """The i-th example alone."""
    assert isinstance(explicand.target, Output)
    assert explicand.target.indices is not None
    assert explicand.baselines is not None
    return replace(
        explicand,
        inputs=tuple(t[i : i + 1] for t in explicand.inputs),
        baselines=tuple(t[i : i + 1] for t in explicand.baselines),
        target=Output(explicand.target.indices[i : i + 1]),
    )


def tensors(attribution: Attribution) -> list[Tensor]:
    """All that an answer says."""
    found = [*attribution.values, *attribution.standard_errors]
    errors = (attribution.completeness_error, attribution.standard_error)
    optional = (*errors, attribution.output, attribution.baseline_output)
    return found + [t for t in optional if t is not None]


def assert_same(a: Attribution, b: Attribution, tolerance: float = 1e-10) -> None:
    for left, right in zip(tensors(a), tensors(b), strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "shape"), [c for c in CASES if c.values[0] != "feature_permutation"]
)  # whose examples exchange their values
def test_an_example_alone_is_explained_as_in_a_batch(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    if name in A_DISTRIBUTION:
        explicand = replace(explicand, baselines=tuple(t[:1] for t in explicand.baselines or ()))
    together = explain(model, method, explicand)
    for i in range(explicand.count):
        one = example(explicand, i)
        if name in A_DISTRIBUTION:
            one = replace(one, baselines=explicand.baselines)
        alone = explain(model, method, one)
        for whole, part in zip(tensors(together), tensors(alone), strict=True):
            torch.testing.assert_close(whole[i : i + 1], part, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if m.traits.feature_masks and n != "feature_permutation"]
)
def test_an_example_with_a_mask_of_its_own_is_explained_as_alone(name: str) -> None:
    model, method, explicand = case(name, "vector")
    masks = torch.tensor([[0, 0, 1, 2, 3, 3, 3, 1], [3, 2, 1, 0, 0, 1, 2, 3]])[[0, 1, 1, 0, 1]]
    together = explain(model, method, replace(explicand, feature_mask=(masks,)), batch_rows=7)
    for i in range(explicand.count):
        one = replace(example(explicand, i), feature_mask=(masks[i : i + 1],))
        alone = explain(model, method, one)
        for whole, part in zip(tensors(together), tensors(alone), strict=True):
            torch.testing.assert_close(whole[i : i + 1], part, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("batch_rows", [1, 7, 10_000])
def test_the_size_of_batches_does_not_matter(name: str, shape: str, batch_rows: int) -> None:
    model, method, explicand = case(name, shape)
    expected = explain(model, method, explicand)
    assert_same(explain(model, method, explicand, batch_rows=batch_rows), expected)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_same_seed_gives_the_same_answer_and_leaves_the_global_one_alone(
    name: str, shape: str
) -> None:
    model, method, explicand = case(name, shape)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = explain(model, method, explicand, batch_rows=64)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert_same(explain(model, method, explicand, batch_rows=64), first, tolerance=0)


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if m.traits.random])
def test_another_seed_gives_another_answer(name: str) -> None:
    model, method, explicand = case(name, "vector")
    method = resolve(METHODS[name], FEWER_SAMPLES.get(name, {}))
    one = explain(model, method, explicand)
    other = explain(model, method, replace(explicand, seed=8))
    assert not torch.equal(one.values[0], other.values[0])


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_model_and_the_inputs_are_left_untouched(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    state = copy.deepcopy(model.state_dict())
    grads = [p.requires_grad for p in model.parameters()]
    inputs = [t.clone() for t in explicand.inputs]
    explain(model, method, explicand)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == grads
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not model.training
    for t, before in zip(explicand.inputs, inputs, strict=True):
        assert torch.equal(t, before)
        assert not t.requires_grad


class Bomb(nn.Module):
    """Fails at its third call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise ZeroDivisionError("third call")
        return self.model(x)


@pytest.mark.parametrize("name", METHODS)
def test_a_failure_of_the_model_reaches_the_caller_and_leaves_nothing_behind(name: str) -> None:
    model, method, explicand = case(name, "vector")
    bomb = Bomb(model)
    if explicand.at != INPUT:
        explicand = replace(explicand, at=Site(f"model.{explicand.at.layer}"))
    with pytest.raises(ZeroDivisionError, match="third call"):
        explain(bomb, method, explicand, batch_rows=1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in bomb.modules())
    assert not any(t.requires_grad for t in explicand.inputs)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_threads_that_share_a_model_do_not_disturb_each_other(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    expected = explain(model, method, explicand, batch_rows=64)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: explain(model, method, explicand, batch_rows=64), range(8))
    for answer in answers:
        assert_same(answer, expected)


# How many channels a layer has only the model knows.
FORETOLD = [
    c
    for c in CASES
    if METHODS[str(c.values[0])].traits.gradient
    or not needs_layer(METHODS[str(c.values[0])].traits.layer)
]


@pytest.mark.parametrize(("name", "shape"), FORETOLD)
def test_the_rows_foretold_are_the_rows_used(name: str, shape: str) -> None:
    model, method, explicand = case(name, shape)
    assert explain(model, method, explicand).rows_used == method.rows(explicand)


@pytest.mark.parametrize(
    "name", [name for name, m in METHODS.items() if m.traits.gradient and m.traits.layer != "never"]
)
def test_the_rows_foretold_at_a_layer_are_the_rows_used(name: str) -> None:
    model, method, explicand = case(name, "vector")
    at_layer = replace(explicand, at=Site("1"))
    assert explain(model, method, at_layer).rows_used == method.rows(at_layer)
    if name in THROUGH_INPUTS or method.traits.layer == "through":
        return
    text, ids = text_classifier(), torch.tensor([[1, 4, 7], [2, 2, 5]])
    at_embedding = Explicand.of(
        ids,
        target=1,
        baselines=torch.zeros_like(ids[:1]),
        at=Site("embedding"),
        additional_forward_args=(torch.ones(2, 3),),
    )
    assert explain(text, method, at_embedding).rows_used == method.rows(at_embedding)


@pytest.mark.parametrize("name", METHODS)
def test_float32_agrees_with_float64(name: str) -> None:
    model, method, explicand = case(name, "vector")
    exact = explain(model, method, explicand)
    single = replace(
        explicand,
        inputs=tuple(t.float() for t in explicand.inputs),
        baselines=tuple(t.float() for t in explicand.baselines or ()),
    )
    rounded = explain(copy.deepcopy(model).float(), method, single)
    assert rounded.values[0].dtype == torch.float32
    torch.testing.assert_close(rounded.values[0].double(), exact.values[0], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_describes_itself(name: str) -> None:
    method = METHODS[name]
    assert method.__doc__
    assert method.traits.paper.startswith("https://")
    assert isinstance(resolve(method, {}), Method)
    for parameter in describe(method):
        assert parameter.text.endswith(".")
        if parameter.default is not None:
            resolve(method, {parameter.name: parameter.default})


@pytest.mark.parametrize(
    "name", [name for name, m in METHODS.items() if needs_layer(m.traits.layer)]
)
def test_a_layer_has_to_be_named(name: str) -> None:
    model, method, explicand = case(name, "image")
    with pytest.raises(InvalidArgument, match="layer is not given"):
        explain(model, method, replace(explicand, at=INPUT))
