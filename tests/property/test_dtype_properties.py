"""Inputs of every dtype beside baselines of every kind: perturbations never cut a baseline off.

Two oracles: the coalitions, enumerated in float64; and the same method on inputs that were promoted
by hand.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from adcaptum.engine import METHODS, Attribution, Explicand, InvalidArgument, Method, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.games import shapley_by_orders

FEATURES = 3
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
]  # fmt: skip
PARAMETERS: dict[str, dict[str, object]] = {
    "rise": {"n_samples": 40},
    "lime": {"n_samples": 7},
    "shapley_interactions": {"index": "sii"},
}
PERTURBING = sorted(
    name
    for name, method in METHODS.items()
    if method.traits.baseline and not method.traits.gradient and method.traits.layer == "optional"
)
SHAPLEY = [
    "kernel_shap",
    "leverage_shap",
    "owen_sampling",
    "shapley_value_sampling",
    "shapley_values",
]


def made(name: str) -> Method:
    return resolve(METHODS[name], PARAMETERS.get(name, {}))


def target(x: Tensor) -> Tensor:
    """Not additive, and exact in float64 whatever the dtype of the inputs."""
    wide = x.double().flatten(1)
    return wide @ torch.tensor([1.0, -2.0, 3.0]).double() + wide[:, 0] * wide[:, 1] - wide.prod(1)


def worths(end: Tensor, start: Tensor) -> Tensor:
    """The target with every coalition; bit i of its number says that feature i is present."""
    rows = []
    for bits in product((0, 1), repeat=FEATURES):
        present = torch.tensor(bits[::-1]).bool()
        rows.append(torch.where(present, end.double(), start.double()))
    return target(torch.stack(rows))


def answer(name: str, x: Tensor, baseline: Tensor | float) -> Attribution:
    return explain(target, made(name), Explicand.of(x, baselines=baseline, seed=3))


def numbers(dtype: torch.dtype) -> Tensor:
    return (
        torch.tensor([[1, 0, 1], [0, 1, 1]]).to(dtype)
        if dtype == torch.bool
        else torch.tensor([[3, 4, 5], [1, 2, 0]]).to(dtype)
    )


BASELINES = [0.7, -1.5, 300, 0.0]


def held(baseline: float, dtype: torch.dtype) -> Tensor:
    """The baseline that the model should see: rounded beside floats, whole beside integers."""
    return torch.tensor(baseline).to(dtype if dtype.is_floating_point else torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("form", ["number", "row", "rows"])
def test_baselines_are_whole_in_every_coalition(
    dtype: torch.dtype, baseline: float, form: str
) -> None:
    x = numbers(dtype)
    given_as: Tensor | float = baseline
    if form != "number":
        given_as = torch.tensor(baseline).expand(1 if form == "row" else len(x), FEATURES)
    start = held(baseline, dtype).expand(FEATURES)
    for i, example in enumerate(x):
        of_all = worths(example, start)
        full = of_all[-1]
        ablated = torch.stack([full - of_all[7 ^ 1 << j] for j in range(FEATURES)])
        shapley = shapley_by_orders(of_all)
        expected = dict.fromkeys(SHAPLEY, shapley) | dict.fromkeys(
            ["feature_ablation", "occlusion"], ablated
        )
        for name, wanted in expected.items():
            found = answer(name, x, given_as).values[0][i]
            assert (found.double() - wanted).abs().max() <= 1e-4 + 1e-5 * wanted.abs().max(), name


@pytest.mark.parametrize("name", PERTURBING)
@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    values=st.lists(st.integers(0, 100), min_size=2 * FEATURES, max_size=2 * FEATURES),
    baseline=st.one_of(st.floats(-50, 50, width=16), st.integers(-200, 400)),
    as_tensor=st.booleans(),
)
def test_every_method_is_that_of_inputs_promoted_by_hand(
    name: str, dtype: torch.dtype, values: list[int], baseline: float, *, as_tensor: bool
) -> None:
    x = torch.tensor(values).view(2, FEATURES).to(dtype)
    start = held(baseline, dtype)
    wide = answer(name, x.double(), start.double().expand(1, FEATURES))
    given_as = torch.tensor(baseline).expand(1, FEATURES) if as_tensor else baseline
    found = answer(name, x, given_as)
    for one, other in zip(found.values, wide.values, strict=True):
        scale = float(other.abs().max()) + 1
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-5 * scale)
    assert found.rows_used == wide.rows_used


@pytest.mark.parametrize("name", [n for n in PERTURBING if METHODS[n].traits.background])
def test_a_background_set_of_fractions_is_whole_beside_integers(name: str) -> None:
    x = torch.tensor([[3, 4, 5], [1, 2, 0]])
    rows = torch.tensor([[0.5, 0.25, 0.75], [1.5, -0.5, 2.0], [0.0, 1.0, 0.25]])
    asked = Explicand.of(x, baselines=rows, background=True, seed=1)
    by_hand = Explicand.of(x.double(), baselines=rows.double(), background=True, seed=1)
    found, wide = (explain(target, made(name), each).values[0] for each in (asked, by_hand))
    torch.testing.assert_close(found.double(), wide, rtol=1e-5, atol=1e-5)


def test_integers_that_float32_does_not_hold_become_float64() -> None:
    big = torch.tensor([[2**24 + 1, 1, 2]])
    explicand = Explicand.of(big, baselines=0.5)
    assert explicand.inputs[0].dtype == torch.float64
    assert torch.equal(explicand.inputs[0].long(), big)


def test_whole_baselines_leave_integers_as_they_are() -> None:
    explicand = Explicand.of(numbers(torch.int64), baselines=torch.tensor([[1.0, 2.0, 3.0]]))
    assert explicand.inputs[0].dtype == torch.int64
    assert explicand.baselines is not None
    assert explicand.baselines[0].dtype == torch.int64


@pytest.mark.parametrize(
    ("x", "baseline"),
    [
        (torch.zeros(1, 3, dtype=torch.float16), 1e6),
        (torch.zeros(1, 3), 1e300),
        (torch.zeros(1, 3, dtype=torch.int64), 1e300),
        (torch.zeros(1, 3), torch.full((1, 3), 1e300, dtype=torch.float64)),
        (torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.complex64)),
        (torch.zeros(1, 3, dtype=torch.int64), 10**30),
    ],
)
def test_a_baseline_that_no_promotion_holds_is_refused(x: Tensor, baseline: Tensor | float) -> None:
    with pytest.raises(InvalidArgument, match=r"baselines\[0\]"):
        Explicand.of(x, baselines=baseline)
