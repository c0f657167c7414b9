"""Forms of arguments that Captum takes: broadcast baselines, float masks, selectors of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.futures import Future

from adcaptum import attr
from adcaptum.attr.errors import InvalidInput
from tests.captum_oracle import assert_captums, assert_same, captums, ours
from tests.models import mlp, numbers

X3 = torch.ones(3, 1)
BLOCKS = torch.arange(1.0, 19).view(2, 3, 3)
X = numbers(3, 8)
MODEL = mlp()
FIRST = MODEL.get_submodule("0")
LAYER = (MODEL, FIRST)


def total(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


@pytest.mark.parametrize(
    "baseline",
    [
        torch.ones(3),
        torch.arange(9.0).view(3, 3),
        torch.tensor(2.0),
        torch.ones(1),
        torch.ones(3, 1),
    ],
    ids=lambda t: str(tuple(t.shape)),
)
@pytest.mark.parametrize(
    ("name", "further"),
    [
        ("FeatureAblation", {}),
        ("Occlusion", {"sliding_window_shapes": (1, 3)}),
        ("ShapleyValueSampling", {}),
        ("ShapleyValues", {}),
        ("KernelShap", {}),
        ("IntegratedGradients", {}),
    ],
)
def test_a_baseline_of_fewer_dimensions_is_laid_along_the_last(
    name: str, further: dict[str, Any], baseline: Tensor
) -> None:
    whole = baseline.expand(1, 3, 3)
    mine = ours(name, (total,), BLOCKS, baselines=baseline, **further)
    assert_same(mine, ours(name, (total,), BLOCKS, baselines=whole, **further))
    if name in {"FeatureAblation", "Occlusion"}:
        assert_same(mine, captums(name, (total,), BLOCKS, baselines=baseline, **further))


@pytest.mark.parametrize("name", ["DeepLift", "NeuronDeepLift", "NeuronFeatureAblation"])
def test_so_it_is_inside_the_model(name: str) -> None:
    construct = LAYER if name.startswith("Neuron") else (MODEL,)
    which = {"neuron_selector": 2} if name.startswith("Neuron") else {"target": 1}
    assert_same(
        ours(name, construct, X, baselines=torch.tensor(0.5), **which),
        ours(name, construct, X, baselines=0.5, **which),
        1e-10,
    )


@pytest.mark.parametrize("name", ["GradientShap", "DeepLiftShap"])
@pytest.mark.parametrize("baseline", [torch.tensor(0.5), torch.full((8,), 0.5)], ids=Tensor.dim)
def test_a_distribution_of_one_row_may_come_without_the_rows(name: str, baseline: Tensor) -> None:
    torch.manual_seed(0)
    mine = ours(name, (MODEL,), X, baselines=baseline, target=1)
    torch.manual_seed(0)
    wanted = ours(name, (MODEL,), X, baselines=torch.full((1, 8), 0.5, dtype=X.dtype), target=1)
    assert_same(mine, wanted, 1e-10)


@pytest.mark.parametrize("baseline", [torch.ones(1), torch.ones(5), torch.tensor(2.0)], ids=str)
def test_a_layers_baseline_is_laid_along_the_last_dimension(baseline: Tensor) -> None:
    model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    assert_captums(
        "LayerFeatureAblation", (model, model[0]), X, layer_baselines=baseline.double(), target=1
    )


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValueSampling", "ShapleyValues"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bool])
def test_a_mask_of_whole_numbers_may_be_of_any_dtype(name: str, dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 1]])
    arguments = {"target": 1, "feature_mask": mask.to(dtype)}
    mine = ours(name, (MODEL,), X, **arguments)
    # Captum draws orders where all coalitions fit into as many rows.
    exact = name.replace("ShapleyValueSampling", "ShapleyValues")
    assert_same(mine.float(), captums(exact, (MODEL,), X, **arguments).float())


@pytest.mark.parametrize("name", ["KernelShap", "Lime", "FeaturePermutation"])
def test_a_float_mask_is_that_of_its_numbers(name: str) -> None:
    mask = torch.tensor([[0, 0, 1, 1, 2, 2, 2, 1]])
    torch.manual_seed(0)
    wanted = ours(name, (MODEL,), X, target=1, feature_mask=mask)
    torch.manual_seed(0)
    assert_same(ours(name, (MODEL,), X, target=1, feature_mask=mask.float()), wanted, 1e-10)


def test_a_layers_float_mask_is_that_of_its_numbers() -> None:
    mask = (torch.arange(FIRST(X).shape[1]) // 2)[None].float()
    assert_captums("LayerFeatureAblation", LAYER, X, layer_mask=mask, target=1)
    assert_captums("NeuronFeatureAblation", LAYER, X, 3, feature_mask=torch.zeros(1, 8))


@pytest.mark.parametrize("bad", [0.5, float("nan"), float("inf")])
def test_a_mask_of_fractions_is_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match=r"feature_mask\[0\].*whole numbers"):
        ours("FeatureAblation", (MODEL,), X, target=1, feature_mask=torch.full((1, 8), bad))


SELECTORS = {
    "all": (lambda t: t.sum(), lambda t: t.sum(1)),
    "a column": (lambda t: t[:, 1].sum(), lambda t: t[:, 1]),
    "a list of one": (lambda t: t[:, 2].sum()[None], lambda t: t[:, 2]),
    "squared": (lambda t: t.square().sum(), lambda t: t.square().sum(1)),
    "the mean": (lambda t: t.mean(), lambda t: t.mean(1)),
}
NEURONS: dict[str, dict[str, Any]] = {
    "NeuronGradient": {},
    "NeuronIntegratedGradients": {},
    "NeuronConductance": {"target": 1},
    "NeuronDeepLift": {},
    "NeuronDeepLiftShap": {"baselines": numbers(2, 8, seed=4)},
    "NeuronGradientShap": {"baselines": numbers(2, 8, seed=4)},
    "NeuronGuidedBackprop": {},
    "NeuronDeconvolution": {},
    "NeuronFeatureAblation": {},
}


@pytest.mark.parametrize(
    ("name", "selector"),
    [(n, s) for n in NEURONS for s in SELECTORS if "DeepLift" not in n or s != "squared"],
)
def test_a_selector_of_one_number_for_the_batch_selects_in_each_row(
    name: str, selector: str
) -> None:
    of_batch, of_row = SELECTORS[selector]
    torch.manual_seed(0)
    mine = ours(name, LAYER, X, neuron_selector=of_batch, **NEURONS[name])
    torch.manual_seed(0)
    assert_same(mine, ours(name, LAYER, X, neuron_selector=of_row, **NEURONS[name]), 1e-10)


def test_rules_do_not_see_into_a_selector_that_is_called_row_by_row() -> None:
    method = attr.NeuronDeepLift(*LAYER)
    with (
        pytest.warns(UserWarning, match="has no rule for square"),
        pytest.warns(UserWarning, match="unexplained"),
    ):
        method.attribute(X, SELECTORS["squared"][0])


@pytest.mark.parametrize(
    "name",
    ["NeuronGradient", "NeuronIntegratedGradients", "NeuronDeepLift", "NeuronGuidedBackprop"],
)
@pytest.mark.parametrize("selector", ["all", "a column", "a list of one"])
def test_sums_over_the_batch_have_captums_attributions(name: str, selector: str) -> None:
    assert_captums(name, LAYER, X, SELECTORS[selector][0])


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize(
    "selector", [lambda t: t[:, 1:3], lambda t: t, lambda t: 1.0], ids=range(3)
)
def test_a_selector_of_several_numbers_is_refused(name: str, selector: Any) -> None:
    with pytest.raises(InvalidInput, match="one number per row"):
        ours(name, LAYER, X, neuron_selector=selector, **NEURONS[name])


@pytest.mark.parametrize(
    "name", ["FeatureAblation", "FeaturePermutation", "ShapleyValueSampling", "ShapleyValues"]
)
@pytest.mark.parametrize("chained", [False, True])
def test_results_of_the_future_forms_are_torchs_futures(name: str, *, chained: bool) -> None:
    def later(x: Tensor) -> Any:
        answer: Future[Tensor] = Future()
        answer.set_result(MODEL(x)[:, 1])
        # What follows from a future is of another class, torch.Future.
        return answer.then(lambda done: done.value()) if chained else answer

    found = getattr(attr, name)(later).attribute_future(X)
    assert isinstance(found, Future)
    assert isinstance(found.then(lambda done: done.value()), torch.Future)
    assert found.wait().shape == X.shape
