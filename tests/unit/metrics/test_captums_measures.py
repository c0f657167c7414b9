"""Infidelity and the largest sensitivity against Captum's, and where Captum's are wrong."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from captum import attr as captums_attr, metrics as captum
from captum.metrics._core.sensitivity import default_perturb_func as captums_noise
from captum.testing.helpers.basic_models import (
    BasicModel2,
    BasicModel4_MultiArgs,
    BasicModel_ConvNet_One_Conv,
    BasicModel_MultiLayer,
)
from torch import Tensor, nn

from adcaptum import attr, metrics
from adcaptum.attr.errors import InvalidInput
from adcaptum.metrics._core.sensitivity import default_perturb_func
from tests.captum_oracle import assert_same, silently

TARGETS = [(0, 1, 1), (0, 1, 1), (1, 1, 1), (0, 1, 1)]
IMAGES = torch.arange(1.0, 17.0).expand(20, 16).view(20, 1, 4, 4).clone()
ROWS = torch.arange(1.0, 13.0).view(4, 3)


def tuples(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def near(inputs: Any, _baselines: Any = None) -> Any:
    """Perturbations that are the same each time, of another size for each input."""
    perturbations = tuple(torch.full_like(t, 0.01 * (i + 1)) for i, t in enumerate(tuples(inputs)))
    moved = tuple(t - p for t, p in zip(tuples(inputs), perturbations, strict=True))
    return (perturbations, moved) if isinstance(inputs, tuple) else (perturbations[0], moved[0])


def random(inputs: Any, _baselines: Any = None) -> Any:
    perturbations = tuple(torch.randn_like(t) for t in tuples(inputs))
    moved = tuple(t - p for t, p in zip(tuples(inputs), perturbations, strict=True))
    return (perturbations, moved) if isinstance(inputs, tuple) else (perturbations[0], moved[0])


# Model, inputs, arguments of the explanation.
CASES: dict[str, tuple[nn.Module, Any, dict[str, Any]]] = {
    "one": (BasicModel2(), (torch.tensor([3.0]), torch.tensor([1.0])), {}),
    "many": (BasicModel2(), (torch.tensor([3.0] * 20), torch.tensor([1.0] * 20)), {}),
    "further": (
        BasicModel4_MultiArgs(),
        (torch.tensor([[1.5, 2.0, 3.3]]), torch.tensor([[3.0, 3.5, 2.2]])),
        {"additional_forward_args": torch.tensor([[1.0, 3.0, 4.0]])},
    ),
    "images": (BasicModel_ConvNet_One_Conv(), IMAGES, {"target": torch.tensor([1] * 20)}),
    "tuples": (
        BasicModel_MultiLayer(),
        ROWS,
        {"target": TARGETS, "additional_forward_args": (None, True)},
    ),
    "rows": (
        BasicModel_MultiLayer(),
        ROWS,
        {"target": [0, 1, 1, 0], "additional_forward_args": (ROWS / 2, False)},
    ),
}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("most", [None, 40])
@pytest.mark.parametrize("perturb", [near, random])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_infidelity_is_captums(case: Any, perturb: Any, most: int | None, normalize: bool) -> None:
    model, inputs, options = case
    attributions = attr.IntegratedGradients(model).attribute(inputs, **options)
    answers = []
    for package in (metrics, captum):
        torch.manual_seed(0)
        answers.append(
            silently(
                package.infidelity,
                model,
                perturb,
                inputs,
                attributions,
                n_perturb_samples=5,
                max_examples_per_batch=most,
                normalize=normalize,
                **options,
            )
        )
    # Normalised, Captum's is a difference of sums in float32.
    scale = float(answers[1].abs().max())
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5 * scale + 1e-3 * normalize)


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("baselines", [None, 0.5, "rows"])
def test_the_decorator_is_captums(multiply: bool, baselines: Any) -> None:
    x = torch.tensor([[1.0, 0.0, 3.0], [0.5, 2.0, -1.0]])
    given = torch.flip(x, [0]) if baselines == "rows" else baselines

    def halved(inputs: Tensor, baselines: Any = 0.0) -> Tensor:
        return (inputs + baselines) / 2

    mine, theirs = (
        package.infidelity_perturb_func_decorator(multiply)(halved)(x, given)
        for package in (metrics, captum)
    )
    assert_same(mine, theirs)


def test_the_decorator_needs_no_parentheses() -> None:
    @metrics.infidelity_perturb_func_decorator
    def zeros(inputs: Tensor) -> Tensor:
        return inputs * 0

    perturbations, moved = zeros(ROWS)
    assert_same(perturbations, (torch.ones(4, 3),))
    assert_same(moved, (torch.zeros(4, 3),))


def test_infidelity_with_baselines_is_captums() -> None:
    model = BasicModel_MultiLayer()
    baselines = ROWS / 3
    attributions = attr.IntegratedGradients(model).attribute(ROWS, baselines, target=0)
    found = []
    for package in (metrics, captum):

        @package.infidelity_perturb_func_decorator(True)  # type: ignore[untyped-decorator]
        def shown(inputs: Tensor, baselines: Tensor) -> Tensor:
            return torch.where(torch.rand_like(inputs) < 0.5, inputs, baselines)

        torch.manual_seed(0)
        found.append(
            package.infidelity(
                model, shown, ROWS, attributions, baselines=baselines, target=0, n_perturb_samples=8
            )
        )
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_attributions_of_a_linear_model_have_no_infidelity() -> None:
    model = nn.Linear(3, 2).eval()
    weights = model.weight[1].detach().expand(4, 3)
    found, error = metrics.infidelity(
        model, random, ROWS, weights, target=1, n_perturb_samples=6, return_standard_error=True
    )
    assert found.abs().max() < 1e-9
    assert error.abs().max() < 1e-9
    twice = metrics.infidelity(model, random, ROWS, 2 * weights, target=1, normalize=True)
    assert twice.abs().max() < 1e-9


def test_standard_errors_are_those_of_the_mean() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    attributions = torch.zeros_like(ROWS)
    options: dict[str, Any] = {"n_perturb_samples": 40, "return_standard_error": True}
    many = [metrics.infidelity(model, random, ROWS, attributions, **options) for _ in range(60)]
    means, errors = (torch.stack(each) for each in zip(*many, strict=True))
    ratio = means.std(0) / errors.mean(0)
    assert ratio.min() > 0.6
    assert ratio.max() < 1.5
    _, alone = metrics.infidelity(
        model, random, ROWS, attributions, n_perturb_samples=1, return_standard_error=True
    )
    assert alone.isinf().all()


def test_normalised_infidelity_does_not_cancel() -> None:
    """Captum's is a difference of large sums in float32, and negative."""
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1000.0)
    weights = model.weight.detach().expand(4, 3)
    torch.manual_seed(0)
    theirs = captum.infidelity(model, random, ROWS, weights, n_perturb_samples=50, normalize=True)
    assert theirs.abs().max() > 0.01
    mine = metrics.infidelity(model, random, ROWS, weights, n_perturb_samples=50, normalize=True)
    assert (mine >= 0).all()
    assert mine.max() < 1e-3


def test_wrong_arguments_of_infidelity_are_named() -> None:
    model = BasicModel_MultiLayer()
    with pytest.raises(AssertionError, match=r"attributions\[0\] is of shape \(4, 2\)"):
        metrics.infidelity(model, near, ROWS, ROWS[:, :2], target=0)
    with pytest.raises(AssertionError, match="attributions is 2 of them"):
        metrics.infidelity(model, near, ROWS, (ROWS, ROWS), target=0)
    with pytest.raises(InvalidInput, match="n_perturb_samples is 0"):
        metrics.infidelity(model, near, ROWS, ROWS, target=0, n_perturb_samples=0)
    with pytest.raises(InvalidInput, match=r"perturbations of shape \(4, 3\)"):
        metrics.infidelity(model, lambda x: (x[:4], x), ROWS, ROWS, target=0)
    with pytest.raises(InvalidInput, match="returns 2 perturbed inputs"):
        metrics.infidelity(model, lambda x: (x, (x, x)), ROWS, ROWS, target=0)
    with pytest.warns(UserWarning, match="at most to their 40 perturbed copies"):
        metrics.infidelity(model, near, ROWS, ROWS, target=0, max_examples_per_batch=2)


@pytest.mark.parametrize("norm", ["fro", 1, float("inf")])
@pytest.mark.parametrize("most", [None, 40])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sensitivity_is_captums(case: Any, most: int | None, norm: Any) -> None:
    model, inputs, options = case
    answers = []
    for package, explaining in ((metrics, attr), (captum, captums_attr)):
        torch.manual_seed(0)
        explain = explaining.IntegratedGradients(model).attribute
        answers.append(
            silently(
                package.sensitivity_max,
                explain,
                inputs,
                perturb_radius=0.3,
                norm_ord=norm,
                n_perturb_samples=5,
                max_examples_per_batch=most,
                **options,
            )
        )
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-4)


def test_sensitivity_of_distributions_and_of_a_users_function() -> None:
    x = (torch.zeros(5), torch.zeros(5))
    baselines = (torch.tensor([0.0, 0.001]), torch.tensor([0.0, 0.001]))
    shap = attr.GradientShap(BasicModel2())
    found = metrics.sensitivity_max(shap.attribute, x, baselines=baselines, n_perturb_samples=4)
    assert found.shape == (5,)
    # |x + d - x| / |x|: of a user's function without arguments, exactly.
    own = metrics.sensitivity_max(
        lambda t: t if isinstance(t, Tensor) else t[0], ROWS, lambda t: t + 2.0, n_perturb_samples=1
    )
    torch.testing.assert_close(own, 2 * 3**0.5 / ROWS.norm(dim=1))
    zero = metrics.sensitivity_max(
        lambda t: t if isinstance(t, Tensor) else t[0],
        torch.zeros(2, 4),
        lambda t: t + 1.0,
    )
    assert_same(zero, torch.full((2,), 2.0))


def test_noise_is_captums_to_the_draw() -> None:
    found: list[Any] = []
    for noise in (default_perturb_func, captums_noise):
        torch.manual_seed(0)
        found.append(noise((ROWS, IMAGES), 0.1))
    assert_same(found[0], found[1])


def test_half_precision_is_explained() -> None:
    """Captum's noise is float32, which the model does not take."""
    model = nn.Linear(3, 2).bfloat16().eval()
    x = ROWS.bfloat16()
    with pytest.raises(RuntimeError, match="dtype"):
        silently(captum.sensitivity_max, captums_attr.Saliency(model).attribute, x, target=0)
    found = metrics.sensitivity_max(attr.Saliency(model).attribute, x, target=0)
    assert_same(found, torch.zeros(4))


def test_masks_of_each_example_follow_the_perturbations() -> None:
    """Captum repeats targets and arguments, and leaves masks behind."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    masks = torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 2], [1, 0, 1]])
    options: dict[str, Any] = {"feature_mask": masks, "target": [0, 1, 0, 1]}
    theirs = captums_attr.FeatureAblation(model).attribute
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        silently(captum.sensitivity_max, theirs, ROWS, **options)
    mine = attr.FeatureAblation(model).attribute
    torch.manual_seed(0)
    whole = metrics.sensitivity_max(mine, ROWS, perturb_func=shift, **options)
    alone = [
        metrics.sensitivity_max(
            mine,
            ROWS[i : i + 1],
            perturb_func=shift,
            feature_mask=masks[i : i + 1],
            target=options["target"][i],
        )
        for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.cat(alone))


def shift(inputs: Tensor) -> Tensor:
    return inputs + 0.5


def test_wrong_arguments_of_sensitivity_are_named() -> None:
    explain = attr.Saliency(BasicModel_MultiLayer()).attribute
    with pytest.raises(InvalidInput, match="norm_ord is 'nuc'"):
        metrics.sensitivity_max(explain, ROWS, norm_ord="nuc", target=0)
    with pytest.raises(InvalidInput, match=r"attributions of shape \(3, 3\)"):
        metrics.sensitivity_max(lambda x: x[0][:3], ROWS)
    with pytest.raises(InvalidInput, match="inputs is"):
        metrics.sensitivity_max(explain, [ROWS], target=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(captum.__all__))
def test_the_signatures_are_captums(name: str) -> None:
    def plain(function: Any) -> list[Any]:
        found = inspect.signature(function).parameters.values()
        return [
            p.replace(
                annotation=p.empty,
                default=callable if inspect.isfunction(p.default) else p.default,
            )
            for p in found
            if p.kind is not p.KEYWORD_ONLY
        ]

    assert plain(getattr(metrics, name)) == plain(getattr(captum, name))
