"""What every perturbation method of the facade promises, whatever it computes."""

from __future__ import annotations

import copy
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from captum import attr as captum
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.engine.errors import ModelError
from tests.captum_oracle import assert_same, ours
from tests.models import mlp, numbers


@dataclass(frozen=True)
class Call:
    """How a class is called for a model with a layer "1" of 16 tanh neurons."""

    layer: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    def construct(self, model: nn.Module) -> tuple[Any, ...]:
        return (model, model.get_submodule("1")) if self.layer else (model,)


TARGET: dict[str, Any] = {"target": [0, 2, 1]}
MASK = torch.arange(16)[None] // 4
CALLS = {
    "FeatureAblation": Call(False, TARGET),
    "FeaturePermutation": Call(False, TARGET),
    "Occlusion": Call(False, TARGET | {"sliding_window_shapes": (3,)}),
    "ShapleyValueSampling": Call(False, TARGET | {"n_samples": 4}),
    "ShapleyValues": Call(False, TARGET),
    "Lime": Call(False, TARGET),
    "KernelShap": Call(False, TARGET | {"n_samples": 60}),
    "LayerFeatureAblation": Call(True, TARGET | {"layer_mask": MASK}),
    "LayerFeaturePermutation": Call(True, TARGET | {"layer_mask": MASK}),
    "NeuronFeatureAblation": Call(True, {"neuron_selector": 5}),
}
RANDOM = {
    "FeaturePermutation",
    "ShapleyValueSampling",
    "Lime",
    "KernelShap",
    "LayerFeaturePermutation",
}
WITH_FUTURES = {"FeatureAblation", "FeaturePermutation", "ShapleyValueSampling", "ShapleyValues"}
WITH_BARS = [
    name
    for name in CALLS
    if "show_progress" in inspect.signature(getattr(attr, name).attribute).parameters
]
X = numbers(3, 8)


def explain(name: str, model: nn.Module, x: Tensor = X, **more: Any) -> Any:
    call = CALLS[name]
    torch.manual_seed(5)
    return ours(name, call.construct(model), x, **call.arguments, **more)


@pytest.mark.parametrize("name", CALLS)
def test_properties_are_captums(name: str) -> None:
    model = mlp()
    construct = CALLS[name].construct(model)
    here, there = getattr(attr, name)(*construct), getattr(captum, name)(*construct)
    assert here.multiplies_by_inputs == there.multiplies_by_inputs
    assert here.has_convergence_delta() == there.has_convergence_delta()
    assert here.forward_func is model
    if name not in WITH_FUTURES:
        with pytest.raises(NotImplementedError, match=f"attribute_future is not .* for {name}"):
            here.attribute_future()


def assert_untouched(model: nn.Module, state: dict[str, Tensor], x: Tensor) -> None:
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(t, state[key]) for key, t in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, X)
    assert not x.requires_grad


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_left_behind(name: str) -> None:
    model, x = mlp(), X.clone()
    state = copy.deepcopy(model.state_dict())
    explain(name, model, x)
    assert_untouched(model, state, x)


class Fails(nn.Module):
    """A layer that fails."""

    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError


# NeuronFeatureAblation does not get that far.
@pytest.mark.parametrize("name", sorted(set(CALLS) - {"NeuronFeatureAblation"}))
def test_nothing_is_left_behind_by_a_failure(name: str) -> None:
    model, x = nn.Sequential(*list(mlp().children())[:2], Fails()), X.clone()
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError):
        explain(name, model, x)
    assert_untouched(model, state, x)


@pytest.mark.parametrize(
    "name", sorted(set(CALLS) - {"ShapleyValueSampling", "Lime", "KernelShap"})
)
def test_threads_that_share_a_model_do_not_disturb_each_other(name: str) -> None:
    """One model, 8 threads, 160 calls; of those that draw, those whose draw can be replaced."""
    call = CALLS[name]
    attribution = getattr(attr, name)(*call.construct(mlp()))
    if name in RANDOM:
        attribution.perm_func = _swap
    expected = attribution.attribute(X, **call.arguments)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: attribution.attribute(X, **call.arguments), range(160)))
    for answer in answers:
        assert_same(answer, expected, 1e-10)


def _swap(t: Tensor, feature: Tensor) -> Tensor:
    return torch.where(feature, t.flip(0), t)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_the_seed_of_torch_makes_results_repeatable(name: str) -> None:
    model = mlp()
    few = {"n_samples": 40} if name == "KernelShap" else {}
    call = CALLS[name]
    attribution = getattr(attr, name)(*call.construct(model))

    def run() -> Any:
        return attribution.attribute(X, **(call.arguments | few))

    torch.manual_seed(1)
    first, second = run(), run()
    torch.manual_seed(1)
    assert_same(run(), first, 1e-12)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", CALLS)
def test_half_precision_is_answered_in_float32(name: str) -> None:
    model = mlp().to(torch.bfloat16)
    assert explain(name, model, X.to(torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("name", CALLS)
def test_doubles_stay_doubles(name: str) -> None:
    """Captum's occlusion, Shapley values, Lime and KernelShap are rounded to float32."""
    assert explain(name, mlp()).dtype == torch.float64


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("per_eval", [0, -1, 1.5, "2"])
def test_the_perturbations_of_a_batch_are_a_whole_number(name: str, per_eval: Any) -> None:
    with pytest.raises(AssertionError, match="perturbations_per_eval"):
        explain(name, mlp(), perturbations_per_eval=per_eval)


@pytest.mark.parametrize("name", CALLS)
def test_a_list_of_inputs_is_refused(name: str) -> None:
    with pytest.raises(AssertionError, match="inputs"):
        explain(name, mlp(), [X])  # type: ignore[arg-type]


WITH_TARGETS = sorted(set(CALLS) - {"NeuronFeatureAblation"})


@pytest.mark.parametrize("name", WITH_TARGETS)
@pytest.mark.parametrize(
    ("target", "error"),
    [(9, IndexError), ([0, 1, 9], IndexError), ([0, 1], AssertionError), (1.0, AssertionError)],
    ids=str,
)
def test_wrong_targets_have_captums_types(name: str, target: Any, error: type[Exception]) -> None:
    call = CALLS[name]
    arguments = call.arguments | {"target": target}
    with pytest.raises(error):
        ours(name, call.construct(mlp()), X, **arguments)


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValues", "Lime", "KernelShap"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"baselines": (0, 0)},
        {"baselines": torch.zeros(2, 8)},
        {"baselines": torch.zeros(1, 7)},
        {"baselines": "zero"},
        {"feature_mask": torch.zeros(1, 7).long()},
        {"feature_mask": torch.full((1, 8), 0.5)},
        {"feature_mask": (torch.zeros(1, 8).long(), torch.zeros(1, 8).long())},
    ],
    ids=str,
)
def test_wrong_baselines_and_masks_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        explain(name, mlp(), **wrong)


@pytest.mark.parametrize("name", ["FeatureAblation", "FeaturePermutation", "ShapleyValues", "Lime"])
def test_a_mask_for_each_input_is_wanted(name: str) -> None:
    """B26: in Captum an input without a mask is zero, silently."""
    inputs = (X[:, :4], X[:, 4:])
    with pytest.raises(AssertionError, match="feature_mask"):
        ours(
            name,
            (lambda a, b: a.sum(1) + b.sum(1),),
            inputs,
            feature_mask=(torch.arange(4)[None],),
        )


@pytest.mark.parametrize(
    ("windows", "strides"),
    [
        ((9,), None),
        ((3,), 4),
        ((3, 1), None),
        (3, None),
        (((3,), (3,)), None),
        ((3,), (1, 1)),
        ((0,), None),
        ((1.5,), None),
    ],
)
def test_wrong_windows_are_refused(windows: Any, strides: Any) -> None:
    with pytest.raises(AssertionError):
        attr.Occlusion(mlp()).attribute(X, windows, strides, target=0)


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValues", "KernelShap", "Occlusion"])
def test_a_baseline_that_is_not_a_number_does_not_leak(name: str) -> None:
    """B25: Captum multiplies by zeros, so that every value is lost."""
    baseline = torch.tensor([[0.0, torch.nan]])
    windows = {"sliding_window_shapes": (1,)} if name == "Occlusion" else {}
    answer = ours(
        name,
        (lambda x: x.nan_to_num(nan=-1).sum(1),),
        torch.tensor([[1.0, 2.0]]),
        baselines=baseline,
        **windows,
    )
    torch.testing.assert_close(answer, torch.tensor([[1.0, 3.0]]))


@pytest.mark.parametrize("name", WITH_BARS)
@pytest.mark.parametrize("per_eval", [1, 3])
def test_a_bar_reaches_its_end(
    name: str, per_eval: int, capsys: pytest.CaptureFixture[str]
) -> None:
    explain(name, mlp(), show_progress=True, perturbations_per_eval=per_eval)
    shown = capsys.readouterr()
    assert f"{getattr(attr, name).get_name()} attribution: 100%" in shown.err
    assert not shown.out


def test_no_bar_is_drawn_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    for name in CALLS:
        explain(name, mlp())
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["FeatureAblation", "FeaturePermutation"])
def test_misspelt_arguments_are_told(name: str) -> None:
    attribution = getattr(attr, name)(mlp())
    with pytest.warns(UserWarning, match="ignores tarjet"):
        attribution.attribute(X, target=0, tarjet=1)


def test_many_features_are_told_before_all_their_coalitions_are_evaluated() -> None:
    with pytest.warns(UserWarning, match="10 features take 1024 rows"):
        attr.ShapleyValues(lambda x: x.sum(1)).attribute(numbers(1, 10))
    with (
        pytest.raises(AssertionError, match="at most 20"),
        pytest.warns(UserWarning, match="21 features"),
    ):
        attr.ShapleyValues(lambda x: x.sum(1)).attribute(numbers(1, 21))


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "Lime", "KernelShap"])
def test_samples_are_a_whole_number(name: str) -> None:
    for n_samples in (0, 1.5):
        with pytest.raises(AssertionError, match="n_samples"):
            ours(name, (mlp(),), X, target=0, n_samples=n_samples)


def test_a_forward_without_parameters_is_called_with_nothing() -> None:
    x = numbers(2, 3)
    answer = attr.FeatureAblation(lambda: torch.ones(2)).attribute(x)
    assert isinstance(answer, Tensor)
    assert not answer.any()


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_a_model_in_training_mode_is_refused(name: str) -> None:
    model = nn.Sequential(*mlp().children(), nn.Dropout(0.5)).train()
    with pytest.raises(ModelError, match="training mode"):
        explain(name, model)
