"""Measures of faithfulness against their definitions, written out example by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr, metrics
from adcaptum.attr.errors import InvalidInput

FEATURES = 9


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 3)).eval()


def question() -> tuple[nn.Sequential, Tensor, Tensor, Tensor, Tensor]:
    """A model, inputs, baselines, targets and attributions."""
    model = network()
    x, base = torch.randn(5, FEATURES), torch.randn(1, FEATURES)
    target = torch.tensor([0, 1, 2, 1, 0])
    found: Any = attr.IntegratedGradients(model).attribute(x, base, target=target)
    return model, x, base, target, found


def output(model: nn.Module, row: Tensor, target: Tensor) -> float:
    with torch.no_grad():
        return float(model(row[None])[0, target].double())


def curve(i: int, *, insertion: bool, ascending: bool, steps: int) -> list[float]:
    model, x, base, target, found = question()
    order = found[i].argsort(descending=not ascending, stable=True)
    row = (base[0] if insertion else x[i]).clone()
    outputs = [output(model, row, target[i])]
    at = 0
    for step in range(1, steps + 1):
        upto = round(step * FEATURES / steps)
        moved = order[at:upto]
        row[moved] = x[i, moved] if insertion else base[0, moved]
        outputs.append(output(model, row, target[i]))
        at = upto
    return outputs


@pytest.mark.parametrize("steps", [3, FEATURES])
@pytest.mark.parametrize("insertion", [False, True])
def test_the_curve_is_that_of_one_example_after_another(insertion: bool, steps: int) -> None:
    model, x, base, target, found = question()
    measure = metrics.insertion if insertion else metrics.deletion
    score = measure(model, x, found, target, baselines=base, steps=steps)
    expected = [curve(i, insertion=insertion, ascending=False, steps=steps) for i in range(5)]
    torch.testing.assert_close(score.curve, torch.tensor(expected), atol=1e-5, rtol=1e-5)
    share = np.round(np.arange(steps + 1) * FEATURES / steps) / FEATURES
    area = torch.trapezoid(torch.tensor(expected), torch.tensor(share).float(), dim=1)
    torch.testing.assert_close(score.values, area, atol=1e-5, rtol=1e-5)
    relative = measure(model, x, found, target, baselines=base, steps=steps, normalize=True)
    assert relative.curve is not None
    ends = torch.tensor([0.0, 1.0] if insertion else [1.0, 0.0])
    torch.testing.assert_close(relative.curve[:, [0, -1]], ends.expand(5, 2), atol=1e-6, rtol=0)


def test_monotonicity_is_the_share_of_steps_that_do_not_fall() -> None:
    model, x, base, target, found = question()
    score = metrics.monotonicity(model, x, found, target, baselines=base)
    for i in range(5):
        outputs = np.array(curve(i, insertion=True, ascending=True, steps=FEATURES))
        assert float(score.values[i]) == pytest.approx((np.diff(outputs) >= 0).mean())
    linear = nn.Linear(4, 1, bias=False).eval()
    rows = torch.rand(3, 4)
    with torch.no_grad():
        linear.weight.abs_()
    exact = linear.weight.detach() * rows
    assert metrics.monotonicity(linear, rows, exact).values.tolist() == [1.0] * 3


def test_the_estimate_correlates_attributions_with_each_features_loss() -> None:
    model, x, base, target, found = question()
    score = metrics.faithfulness_estimate(model, x, found, target, baselines=base)
    for i in range(5):
        losses = []
        for k in range(FEATURES):
            row = x[i].clone()
            row[k] = base[0, k]
            losses.append(output(model, x[i], target[i]) - output(model, row, target[i]))
        expected = np.corrcoef(found[i].numpy(), np.array(losses))[0, 1]
        assert float(score.values[i]) == pytest.approx(expected, abs=1e-5)


def test_the_correlation_over_subsets_and_its_error() -> None:
    model, x, base, target, found = question()
    options: dict[str, Any] = {"baselines": base, "subset_size": 3}
    many = []
    for seed in range(40):
        torch.manual_seed(seed)
        many.append(
            metrics.faithfulness_correlation(model, x, found, target, n_samples=60, **options)
        )
    values = torch.stack([score.values for score in many])
    errors = torch.stack(
        [score.standard_error for score in many if score.standard_error is not None]
    )
    ratio = values.std(0) / errors.mean(0)
    assert ratio.min() > 0.6
    assert ratio.max() < 1.6
    # All 84 subsets of three features, by definition.
    subsets = [
        s for s in torch.cartesian_prod(*[torch.tensor([False, True])] * FEATURES) if s.sum() == 3
    ]
    for i in range(5):
        sums = [float(found[i][s].sum()) for s in subsets]
        drops = [
            output(model, x[i], target[i]) - output(model, torch.where(s, base[0], x[i]), target[i])
            for s in subsets
        ]
        every = np.corrcoef(sums, drops)[0, 1]
        assert float(values[:, i].mean()) == pytest.approx(
            every, abs=4 * float(values[:, i].std()) / 6
        )


def test_attributions_of_a_linear_model_are_faithful() -> None:
    model = nn.Linear(6, 2).eval()
    x = torch.randn(4, 6)
    exact = model.weight[1].detach() * x
    assert metrics.completeness(model, x, exact, 1).values.max() < 1e-6
    for measure in (metrics.faithfulness_correlation, metrics.faithfulness_estimate):
        values = measure(model, x, exact, 1).values
        torch.testing.assert_close(values, torch.ones(4))
    best = metrics.insertion(model, x, exact, 1).values
    torch.manual_seed(0)
    assert (best > metrics.insertion(model, x, torch.randn(4, 6), 1).values).all()
    assert (metrics.insertion(model, x, -exact, 1).values < best).all()


def test_completeness_is_the_convergence_delta() -> None:
    model, x, base, target, _ = question()
    found, delta = attr.IntegratedGradients(model).attribute(
        x, base, target=target, n_steps=3, return_convergence_delta=True
    )
    error: Any = found
    score = metrics.completeness(model, x, error, target, baselines=base)
    torch.testing.assert_close(score.values, delta.abs().float(), atol=1e-6, rtol=1e-4)
    relative = metrics.completeness(model, x, error, target, baselines=base, relative=True)
    assert (relative.values > score.values / 100).all()


def test_inputs_of_several_tensors_and_groups_of_elements() -> None:
    torch.manual_seed(0)

    def model(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return (a.sum((1, 2)) + 3 * b.sum(1)) * scale

    inputs = (torch.rand(3, 2, 2), torch.rand(3, 4))
    scale = torch.tensor([1.0, 2.0, 3.0])
    found = (inputs[0] * scale[:, None, None], 3 * inputs[1] * scale[:, None])
    masks = (torch.tensor([[[0, 0], [1, 1]]]), torch.tensor([[1, 2, 2, 3]]))
    options: dict[str, Any] = {"additional_forward_args": scale, "feature_mask": masks}
    assert (
        metrics.completeness(model, inputs, found, additional_forward_args=scale).values.max()
        < 1e-5
    )
    estimate = metrics.faithfulness_estimate(model, inputs, found, **options)
    torch.testing.assert_close(estimate.values, torch.ones(3))
    score = metrics.deletion(model, inputs, found, steps=100, **options)
    assert score.curve is not None
    assert score.curve.shape == (3, 5)  # four features, and none
    torch.testing.assert_close(score.curve[:, 0], model(*inputs, scale), atol=1e-5, rtol=1e-5)
    assert score.curve[:, -1].abs().max() < 1e-5


MEASURES: list[Callable[..., metrics.Score]] = [
    metrics.deletion,
    metrics.insertion,
    metrics.monotonicity,
    metrics.faithfulness_correlation,
    metrics.faithfulness_estimate,
    metrics.completeness,
]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.__name__)
def test_examples_do_not_depend_on_each_other(measure: Any) -> None:
    model, x, base, target, found = question()
    torch.manual_seed(7)
    whole = measure(model, x, found, target, baselines=base).values
    for i in range(5):
        torch.manual_seed(7)
        row = slice(i, i + 1)
        alone = measure(model, x[row], found[row], target[row], baselines=base).values
        torch.testing.assert_close(alone, whole[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.__name__)
def test_attributions_of_the_wrong_shape_are_named(measure: Any) -> None:
    model, x, _, target, found = question()
    with pytest.raises(InvalidInput, match=r"attributions\[0\] is of shape \(5, 8\)"):
        measure(model, x, found[:, :8], target)


def test_other_wrong_arguments_are_named() -> None:
    model, x, _, target, found = question()
    with pytest.raises(InvalidInput, match="steps is 0"):
        metrics.deletion(model, x, found, target, steps=0)
    with pytest.raises(InvalidInput, match="n_samples is 1"):
        metrics.faithfulness_correlation(model, x, found, target, n_samples=1)
    with pytest.raises(InvalidInput, match="subset_size is 10: from 1 to the 9 features"):
        metrics.faithfulness_correlation(model, x, found, target, subset_size=10)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.__name__)
def test_attributions_that_are_no_numbers_have_no_score(measure: Any) -> None:
    model, x, base, target, found = question()
    unknown = found.clone()
    unknown[2, 3] = torch.nan
    torch.manual_seed(0)
    values = measure(model, x, unknown, target, baselines=base).values
    assert values.isnan().tolist() == [False, False, True, False, False]
    torch.manual_seed(0)
    whole = measure(model, x, found, target, baselines=base).values
    torch.testing.assert_close(values[[0, 1, 3, 4]], whole[[0, 1, 3, 4]])


def test_what_does_not_vary_has_no_correlation() -> None:
    model, x, _, target, _ = question()
    values = metrics.faithfulness_estimate(model, x, torch.ones_like(x), target).values
    assert values.isnan().all()
