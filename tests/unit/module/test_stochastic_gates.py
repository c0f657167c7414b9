"""Stochastic gates against Captum's and against their papers' formulas."""

from __future__ import annotations

import inspect
from math import log, sqrt
from typing import Any

import pytest
import torch
from captum import module as captum
from torch import Tensor, fx

from adcaptum import module
from tests.captum_oracle import assert_same

NAMES = ["BinaryConcreteStochasticGates", "GaussianStochasticGates"]
X = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[0, 0, 1], [1, 2, 2]])


def gated(package: Any, name: str, *, training: bool, **options: Any) -> Any:
    """The answer of a layer's `forward`, and of its two getters."""
    torch.manual_seed(3)
    gates = getattr(package, name)(**options).train(training)
    answers = gates(X)
    raw = gates.get_gate_values(clamp=False)
    return (*(t.detach() for t in answers), gates.get_gate_values(), raw,
            gates.get_gate_active_probs())  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_signatures_are_captums(name: str) -> None:
    def plain(function: Any) -> list[Any]:
        found = inspect.signature(function).parameters.values()
        return [p.replace(annotation=p.empty) for p in found]

    mine, theirs = getattr(module, name), getattr(captum, name)
    for method in ("__init__", "forward", "get_gate_values", "get_gate_active_probs"):
        assert plain(getattr(mine, method)) == plain(getattr(theirs, method))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {"n_gates": 6},
        {"n_gates": 3, "mask": MASK, "reg_weight": 2.5, "reg_reduction": "mean"},
        {"n_gates": 3, "mask": MASK[None], "reg_weight": 0.5, "reg_reduction": "none"},
    ],
    ids=["own", "masked-mean", "masked-none"],
)
def test_gates_are_captums_to_the_draw(name: str, options: Any, training: bool) -> None:
    mine = gated(module, name, training=training, **options)
    assert_same(mine, gated(captum, name, training=training, **options))


@pytest.mark.parametrize("name", NAMES)
def test_gates_of_known_parameters_are_captums(name: str) -> None:
    location = torch.tensor([-6.0, 0.1, 0.6, 5.0])
    x = torch.ones(2, 4)
    mine, theirs = (
        getattr(package, name)._from_pretrained(location, reg_weight=0.1).eval()
        for package in (module, captum)
    )
    assert_same(tuple(t.detach() for t in mine(x)), tuple(t.detach() for t in theirs(x)))
    assert mine.state_dict().keys() == theirs.state_dict().keys()


def open_shares(gates: module.StochasticGatesBase) -> Tensor:
    torch.manual_seed(0)
    drawn, _ = gates.train()(torch.ones(40_000, gates.n_gates))
    return (drawn > 0).float().mean(0)


def test_gates_are_open_as_often_as_the_price_says() -> None:
    location = torch.tensor([-1.0, -0.2, 0.0, 0.4, 2.0])
    concrete = module.BinaryConcreteStochasticGates._from_pretrained(location, temperature=0.5)
    formula = torch.sigmoid(location - 0.5 * log(0.1 / 1.1))
    torch.testing.assert_close(concrete.get_gate_active_probs(), formula)
    torch.testing.assert_close(open_shares(concrete), formula, atol=0.01, rtol=0)
    gaussian = module.GaussianStochasticGates._from_pretrained(location, std=0.8)
    formula = 0.5 * (1 + torch.erf(location / 0.8 / sqrt(2)))
    torch.testing.assert_close(gaussian.get_gate_active_probs(), formula)
    torch.testing.assert_close(open_shares(gaussian), formula, atol=0.01, rtol=0)


def test_prices_of_single_gates_can_be_learnt_from() -> None:
    def price(package: Any) -> Tensor:
        torch.manual_seed(0)
        gates = package.BinaryConcreteStochasticGates(3, MASK, 2.0, reg_reduction="none")
        _, prices = gates(X)
        prices.sum().backward()
        found: Tensor = gates.log_alpha_param.grad
        return found

    # There the price is weighted in place, which the sigmoid's gradient does not bear.
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        price(captum)
    assert (price(module) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_gates_keep_the_dtype_of_their_parameters(name: str, dtype: torch.dtype) -> None:
    gates = getattr(module, name)(6).to(dtype)
    values, price = gates(X.to(dtype))
    assert values.dtype == price.dtype == dtype
    assert values.isfinite().all()


def test_gates_learn_to_keep_what_a_model_needs() -> None:
    torch.manual_seed(0)
    gates = module.GaussianStochasticGates(4, reg_weight=0.05)
    steps = torch.optim.Adam(gates.parameters(), 0.05)
    x = torch.randn(256, 4)
    for _ in range(150):
        kept, price = gates(x)
        loss = (kept[:, :2].sum(1) - x[:, :2].sum(1)).square().mean() + price
        steps.zero_grad()
        loss.backward()
        steps.step()
    probabilities = gates.get_gate_active_probs()
    assert probabilities[:2].min() > 0.9
    assert probabilities[2:].max() < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_masked_gates_are_traced(name: str) -> None:
    gates = getattr(module, name)(3, mask=MASK)
    traced = fx.symbolic_trace(gates)
    torch.manual_seed(0)
    plain = gates(X)
    torch.manual_seed(0)
    again = traced(X)
    assert torch.equal(plain[0], again[0])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (NAMES[0], {"n_gates": 3, "mask": MASK + 1}, "mask is from 1 to 3"),
        (NAMES[0], {"n_gates": 3, "mask": MASK - 1}, "mask is from -1 to 1"),
        (NAMES[1], {"n_gates": 3, "mask": MASK.float()}, "mask is 6 numbers of dtype"),
        (NAMES[0], {"n_gates": 3, "reg_reduction": "median"}, "reg_reduction is 'median'"),
        (NAMES[0], {"n_gates": 3, "temperature": 1.0}, "temperature is 1.0"),
        (NAMES[0], {"n_gates": 3, "lower_bound": 0.1}, "lower_bound is 0.1"),
        (NAMES[0], {"n_gates": 3, "upper_bound": 0.9}, "upper_bound is 0.9"),
        (NAMES[1], {"n_gates": 3, "std": 0.0}, "std is 0.0"),
    ],
)
def test_wrong_arguments_are_named(name: str, options: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        getattr(module, name)(**options)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_do_not_fit_are_named(name: str) -> None:
    gates = getattr(module, name)(3)
    with pytest.raises(AssertionError, match="6 elements an example"):
        gates(X)
    with pytest.raises(AssertionError, match=r"input_tensor is of shape \(3,\)"):
        gates(torch.ones(3))
    with pytest.raises(AssertionError, match="of one dimension"):
        getattr(module, name)._from_pretrained(torch.ones(2, 2))
