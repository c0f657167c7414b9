"""Ablation, occlusion and Shapley values over Captum's forms of arguments, against Captum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn

from tests.captum_oracle import assert_captums, assert_same, captums, ours


@dataclass(frozen=True)
class Case:
    """A model and what to ask of it."""

    model: Any
    inputs: Any
    baselines: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return basic.BasicModel_ConvNet_One_Conv().eval()


THREE = rows(3, 3)
PAIR = (rows(3, 3), rows(3, 3, seed=1))
LAYERED = basic.BasicModel_MultiLayer()
MULTI_INPUT = basic.BasicModel_MultiLayer_MultiInput()
MULTIDIM = {"additional_forward_args": (None, True)}

CASES = {
    "plain": Case(basic.BasicModel(), rows(4)),
    "two numbers": Case(basic.BasicModel2(), (torch.tensor([3.0]), torch.tensor([1.0]))),
    "baseline numbers": Case(basic.BasicModel2(), (rows(3), rows(3, seed=1)), (0.5, -1)),
    "one example": Case(LAYERED, THREE[:1], None, {"target": 1}),
    "no target": Case(LAYERED, THREE),
    "no target, one example": Case(LAYERED, THREE[:1], 1),
    "int target": Case(LAYERED, THREE, 1, {"target": 0}),
    "negative target": Case(LAYERED, THREE, 0.2, {"target": -1}),
    "tensor target": Case(LAYERED, THREE, THREE + 1, {"target": torch.tensor([0, 1, 1])}),
    "one-element target": Case(LAYERED, THREE, THREE[:1], {"target": torch.tensor([[1]])}),
    "list target": Case(LAYERED, THREE, torch.zeros(3, 3), {"target": [1, 0, 1]}),
    "tuple target": Case(LAYERED, THREE, None, {"target": (1,)}),
    "deep tuple": Case(LAYERED, THREE, None, {"target": (1, 0, 1), **MULTIDIM}),
    "short tuple": Case(LAYERED, THREE, None, {"target": (1, 0), **MULTIDIM}),
    "an index of several": Case(LAYERED, THREE, None, {"target": 1, **MULTIDIM}),
    "slices": Case(LAYERED, THREE, None, {"target": (1, slice(0, 2), 0), **MULTIDIM}),
    "list of tuples": Case(
        LAYERED, THREE, None, {"target": [(1, 0, 1), (0, 0, 1), (1, 1, 0)], **MULTIDIM}
    ),
    "per-example argument": Case(
        LAYERED, THREE, 0, {"target": 1, "additional_forward_args": THREE + 2}
    ),
    "shared arguments": Case(
        basic.BasicModel4_MultiArgs(), PAIR, None, {"additional_forward_args": (3.0, 1)}
    ),
    "list argument": Case(
        basic.BasicModel5_MultiArgs(), PAIR, None, {"additional_forward_args": ([2, 3], 1)}
    ),
    "0-d argument": Case(
        basic.BasicModel4_MultiArgs(), PAIR, None, {"additional_forward_args": torch.tensor(2.0)}
    ),
    "three inputs": Case(
        MULTI_INPUT,
        (*PAIR, rows(3, 3, seed=2)),
        (0, torch.ones(1, 3), rows(3, 3, seed=3)),
        {"target": [0, 1, 0], "additional_forward_args": (4,)},
    ),
    "one-tuple": Case(LAYERED, (THREE,), (0.5,), {"target": 1}),
    "a function": Case(lambda x: (x**3).sum(1), THREE),
    "a column": Case(lambda x: (x**3).sum(1, keepdim=True), THREE),
    "a data-parallel model": Case(nn.DataParallel(LAYERED), THREE, None, {"target": 1}),
    "whole numbers": Case(lambda x: x.float().prod(1), torch.tensor([[2, 3], [4, 5]]), 1),
    "truths": Case(
        lambda x: x.float() @ torch.tensor([1.0, 2.0, 4.0]),
        torch.tensor([[True, False, True], [True, True, True]]),
    ),
    "doubles": Case(lambda x: (x**3).sum(1), THREE.double()),
    "one number for the batch": Case(lambda x: LAYERED(x).square().mean(), THREE),
    "a float for the batch": Case(lambda x: float(LAYERED(x).sum()) + x.numel(), THREE),
    "one entry for the batch": Case(lambda x: LAYERED(x).sum().reshape(1), THREE),
    "two numbers for the batch": Case(lambda x: LAYERED(x).sum(0), THREE),
    "a row for the batch": Case(
        lambda x: LAYERED(x).sum(0, keepdim=True), THREE, None, {"target": 1}
    ),
    "one number for an example": Case(lambda x: LAYERED(x).sum(), THREE[:1]),
    "a forward of one batch size": Case(
        lambda x: (LAYERED(x)[:, 0] - torch.tensor([1.0, 2.0, 3.0])).square(), THREE
    ),
}
# Captum's answers are in the dtype of the output, ours in that of the inputs or more.
LIKE_OUTPUT = {"a float for the batch"}
# Captum goes through all orders of the features.
TOO_LONG = {"three inputs", "shared arguments", "list argument", "0-d argument"}
MASKS = {
    "groups": torch.tensor([[0, 0, 1]]),
    "any numbers": torch.tensor([[7, -2, 7]]),
    "of each example": torch.tensor([[0, 0, 1], [1, 0, 0], [1, 1, 1]]),
    "without dimensions": torch.tensor(0),
    "without examples": torch.tensor([0, 1, 0]),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def assert_alike(name: str, case: Case, **more: Any) -> None:
    """As assert_captums, whatever the dtypes."""
    arguments = {**case.arguments, **more}
    if name != "FeaturePermutation":
        arguments["baselines"] = case.baselines
    mine = ours(name, (case.model,), case.inputs, **arguments)
    theirs = captums(name, (case.model,), case.inputs, **arguments)
    assert_same(wide(mine), wide(theirs))


def wide(answer: Any) -> Any:
    return tuple(map(wide, answer)) if isinstance(answer, tuple) else answer.double()


def test_feature_ablation_is_captums(case: Case) -> None:
    assert_alike("FeatureAblation", case)


@pytest.mark.parametrize("name", [n for n in CASES if n not in LIKE_OUTPUT])
def test_feature_ablation_has_captums_dtype(name: str) -> None:
    case = CASES[name]
    assert_captums("FeatureAblation", (case.model,), case.inputs, case.baselines, **case.arguments)


@pytest.mark.parametrize("name", [n for n in CASES if n not in TOO_LONG])
def test_shapley_values_are_captums(name: str) -> None:
    assert_alike("ShapleyValues", CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if n != "plain"])  # has no dimension to cover
def test_occlusion_is_captums(name: str) -> None:
    case = CASES[name]
    single = isinstance(case.inputs, Tensor)
    shapes = [t.shape[1:] for t in ((case.inputs,) if single else case.inputs)]
    windows = tuple(tuple(min(2, n) for n in shape) for shape in shapes)
    assert_alike("Occlusion", case, sliding_window_shapes=windows[0] if single else windows)


@pytest.mark.parametrize("per_eval", [2, 3, 50])
@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValues"])
@pytest.mark.parametrize("of", ["int target", "list target", "no target"])
def test_the_number_of_perturbations_at_once_does_not_matter(
    name: str, of: str, per_eval: int
) -> None:
    case = CASES[of]
    whole = ours(name, (case.model,), case.inputs, case.baselines, **case.arguments)
    cut = ours(
        name,
        (case.model,),
        case.inputs,
        case.baselines,
        perturbations_per_eval=per_eval,
        **case.arguments,
    )
    assert_same(cut, whole)


@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
@pytest.mark.parametrize("target", [1, [0, 1, 1]])
def test_ablation_of_groups_is_captums(mask: Tensor, target: Any) -> None:
    assert_captums("FeatureAblation", (LAYERED,), THREE, 0.5, target=target, feature_mask=mask)


@pytest.mark.parametrize("mask", MASKS.values(), ids=list(MASKS))
def test_every_output_has_its_own_ablation_of_groups(mask: Tensor) -> None:
    """Captum raises where examples have masks of their own."""
    every = ours("FeatureAblation", (LAYERED,), THREE, 0.5, feature_mask=mask)
    for output in range(2):
        one = ours("FeatureAblation", (LAYERED,), THREE, 0.5, target=output, feature_mask=mask)
        assert_same(every[output::2], one)


@pytest.mark.parametrize("mask", ["groups", "of each example", "without examples"])
@pytest.mark.parametrize("name", ["ShapleyValues", "ShapleyValueSampling"])
def test_shapley_values_of_groups_are_captums(name: str, mask: str) -> None:
    more = {} if name == "ShapleyValues" else {"n_samples": 2}
    mine = ours(name, (LAYERED,), THREE, 0.5, target=1, feature_mask=MASKS[mask], **more)
    exact = captums("ShapleyValues", (LAYERED,), THREE, 0.5, target=1, feature_mask=MASKS[mask])
    assert_same(mine, exact)


def test_groups_across_inputs_are_ablated_together_as_captum_does() -> None:
    masks = (torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 2]]), torch.tensor([[3, 3, 2]]))
    inputs = (*PAIR, rows(3, 3, seed=2))
    for name in ("FeatureAblation", "ShapleyValues"):
        for per_eval in (1, 2):
            assert_captums(
                name,
                (MULTI_INPUT,),
                inputs,
                (0, 1, 2),
                target=0,
                additional_forward_args=1,
                feature_mask=masks,
                perturbations_per_eval=per_eval,
            )


@pytest.mark.parametrize(
    ("windows", "strides"),
    [((1, 2, 2), None), ((1, 3, 3), (1, 2, 2)), ((1, 4, 2), 1), ((1, 3, 3), 1)],
)
def test_windows_over_images_are_captums(windows: Any, strides: Any) -> None:
    images = rows(2, 1, 4, 4) * 5
    assert_captums(
        "Occlusion",
        (images_model(),),
        images,
        windows,
        strides,
        baselines=rows(1, 1, 4, 4, seed=2),
        target=[0, 1],
        tolerance=2e-5,
    )


def test_windows_over_two_inputs_are_captums() -> None:
    images = (rows(2, 1, 4, 4) * 5, rows(2, 1, 4, 4, seed=1) * 5)
    for strides in (None, ((1, 2, 1), 1), (1, (1, 1, 1))):
        assert_captums(
            "Occlusion",
            (images_model(),),
            images,
            ((1, 2, 2), (1, 3, 1)),
            strides,
            target=0,
            perturbations_per_eval=3,
            tolerance=2e-5,
        )


def test_an_input_without_elements_is_passed_over() -> None:
    inputs = (THREE, torch.empty(3, 0))

    def forward(x: Tensor, nothing: Tensor) -> Tensor:
        return x.square().sum(1) + nothing.sum(1)

    for name in ("FeatureAblation", "ShapleyValues", "ShapleyValueSampling", "KernelShap", "Lime"):
        first, second = ours(name, (forward,), inputs)
        assert first.shape == (3, 3)
        assert second.shape == (3, 0)
    (first, _) = ours("FeatureAblation", (forward,), inputs)
    torch.testing.assert_close(first, THREE.square())


@pytest.mark.parametrize("indices", [[1, 7, 2, 4, 5], [3], []], ids=len)
@pytest.mark.parametrize("examples", [1, 2])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"baselines": (0.5, 2)},
        {"baselines": (0, torch.tensor([4]))},
        {"feature_mask": (torch.tensor([[0, 0, 1]]), torch.tensor([1]))},
    ],
    ids=range(4),
)
def test_lists_of_indices_of_any_length_are_ablated_as_captum_does(
    more: dict[str, Any], examples: int, indices: list[int]
) -> None:
    inputs = (rows(examples, 3), torch.tensor(indices, dtype=torch.int64))
    assert_captums("FeatureAblation", (basic.BasicModelWithSparseInputs(),), inputs, **more)


def test_a_list_of_indices_may_go_with_an_output_for_each_example() -> None:
    def forward(x: Tensor, indices: Tensor) -> Tensor:
        return x.sum(1) * indices.sum()

    assert_captums("FeatureAblation", (forward,), (THREE, torch.tensor([1, 2, 3, 4])))
    with pytest.raises(AssertionError, match="feature_mask"):
        ours(
            "FeatureAblation",
            (forward,),
            (THREE, torch.tensor([1, 2])),
            feature_mask=torch.zeros(1, 3).long(),
        )
