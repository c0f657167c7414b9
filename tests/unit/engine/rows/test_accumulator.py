"""Sums of many float32 rows: precise, the same however rows come, and out of reach of TF32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adcaptum.engine import METHODS, Explicand, Site, explain
from adcaptum.engine.methods.layers.increments import Increments
from adcaptum.engine.methods.paths.grouped_sums import GroupedSums
from adcaptum.engine.rows.accumulator import Accumulator, weighted
from adcaptum.engine.rows.reduce import Moments, Reduce, WeightedSum
from adcaptum.engine.rows.sources import Repeated
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

ROWS, FEATURES = 600, 5
GRADIENTS = numbers(2 * ROWS, FEATURES).float() * torch.logspace(-3, 3, 2 * ROWS)[:, None]
STEPS = numbers(2 * ROWS, FEATURES, seed=1).float()
WEIGHTS = torch.rand(ROWS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
REDUCTIONS: dict[str, Callable[[], Reduce]] = {
    "weighted sum": lambda: WeightedSum(WEIGHTS),
    "scaled sum": lambda: WeightedSum(WEIGHTS, Repeated((numbers(2, FEATURES).float(),), ROWS)),
    "moments": Moments,
    "groups": lambda: GroupedSums(8),
    "increments": lambda: Increments(0, ROWS),
}


def folded(reduce: Reduce, size: int) -> tuple[Tensor, ...]:
    sink = reduce.sink(Repeated((torch.zeros(2, 1),), ROWS))
    for start in range(0, 2 * ROWS, size):
        stop = min(start + size, 2 * ROWS)
        tensors = (GRADIENTS[start:stop], STEPS[start:stop])
        sink.add(start, stop, tensors if reduce.with_activations else tensors[:1])
    return sink.result()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_the_size_of_batches_does_not_change_a_sum(name: str) -> None:
    whole = folded(REDUCTIONS[name](), 2 * ROWS)
    for size in (1, 7, 64, ROWS, ROWS + 1):
        for ours, theirs in zip(folded(REDUCTIONS[name](), size), whole, strict=True):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs)


def test_a_sum_is_that_of_exact_arithmetic() -> None:
    (found,) = folded(WeightedSum(WEIGHTS), 50)
    exact = (GRADIENTS.double().view(2, ROWS, FEATURES) * WEIGHTS[:, None]).sum(1)
    assert torch.equal(found, exact.float())


@pytest.mark.parametrize("rows", [1, 100])
def test_without_float64_sums_are_compensated(rows: int) -> None:
    """What a device without float64 does, on this one."""
    terms = GRADIENTS.view(2, ROWS, FEATURES)
    sums = Accumulator(torch.zeros(2, FEATURES))
    plain = torch.zeros(2, FEATURES)
    weights = torch.ones(rows)
    for part in terms.split(rows, 1):
        sums.add(0, 2, weighted(weights[: part.shape[1]], part))
        plain += part.sum(1)
    exact = terms.double().sum(1)
    off = (sums.result(torch.float32).double() - exact).abs()
    if rows == 1:
        assert bool((off <= exact.abs() * 2**-24).all())
        assert float((plain.double() - exact).abs().max()) > 4 * float(off.max())
    else:
        assert bool((off <= terms.abs().sum(1).double() * 2**-22).all())


class _Products(TorchFunctionMode):
    """Notes the dtypes of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> object:
        if func.__name__ in {
            "matmul",
            "__matmul__",
            "mm",
            "bmm",
            "mv",
            "einsum",
            "addmm",
            "baddbmm",
        }:
            self.dtypes |= {a.dtype for a in args if isinstance(a, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("size", [70, 2 * ROWS])
def test_no_reduction_multiplies_matrices_of_float32(name: str, size: int) -> None:
    """TF32 rounds the factors of such products to ten bits on a GPU."""
    with _Products() as products:
        folded(REDUCTIONS[name](), size)
    assert products.dtypes <= {torch.float64}
    if name.endswith("sum"):
        assert products.dtypes


@pytest.mark.parametrize(
    ("name", "at"),
    [("integrated_gradients", None), ("conductance", "0"), ("internal_influence", "0")],
)
def test_every_call_and_every_batch_size_give_the_same_path_sum(name: str, at: str | None) -> None:
    """A network whose answers to a row do not depend on the rows beside it."""
    model = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Flatten())

    class Summed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("0", model)

        def forward(self, x: Tensor) -> Tensor:
            return model(x)[:, 0].sin() + 3 * model(x)[:, 1].square()

    asked = Explicand.of(
        numbers(3, 2).float() * 3,
        baselines=numbers(3, 2, seed=1).float(),
        at=Site("", "input") if at is None else Site(at, call=0),
    )
    method = resolve(METHODS[name], {"n_steps": 500, "method": "riemann_left"})
    answers = [explain(Summed(), method, asked, batch_rows=n) for n in (1, 3, 64, 10_000)]
    for answer in answers[1:]:
        assert torch.equal(answer.values[0], answers[0].values[0])


def test_path_sums_of_captums_model_are_complete_to_float32() -> None:
    """BasicModel_MultiLayer of Captum's tests, 500 steps, whose rows sum to 14.4, 8.7 and 14.4."""
    linear = torch.nn.Linear(3, 3, bias=False)
    last = torch.nn.Linear(4, 2)
    second = torch.nn.Linear(3, 4)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(3))
        second.weight.copy_(torch.ones(4, 3))
        second.bias.copy_(torch.tensor([-10.0, 1.0, 1.0, 1.0]))
        last.weight.copy_(torch.ones(2, 4))
        last.bias.zero_()
    model = torch.nn.Sequential(linear, second, torch.nn.ReLU(), last)
    x = torch.tensor([[1.5, 2.0, 1.3], [0.5, 0.1, 2.3], [1.5, 2.0, 1.3]])
    method = resolve(METHODS["integrated_gradients"], {"n_steps": 500, "method": "riemann_left"})
    answers = [explain(model, method, Explicand.of(x, target=1)) for _ in range(3)]
    for answer in answers:
        sums = answer.values[0].double().sum(1)
        torch.testing.assert_close(
            sums, torch.tensor([14.4, 8.7, 14.4], dtype=torch.float64), rtol=1e-7, atol=0
        )
        assert torch.equal(answer.values[0], answers[0].values[0])
