"""Which tensors of a question have a row for each example is told by more than their length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.engine import METHODS, Explicand, InvalidArgument, PerExample, Shared, Site, explain
from adcaptum.engine.methods.backward_rules.deep_lift import DeepLift
from adcaptum.engine.methods.backward_rules.deep_lift_shap import DeepLiftShap
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.paths.gradient_shap import GradientShap
from adcaptum.engine.methods.perturbation.feature_ablation import FeatureAblation
from adcaptum.engine.methods.perturbation.rise import Rise
from tests.models import mlp, numbers

X = numbers(3, 8)
ROWS = numbers(3, 8, seed=1)


def test_the_methods_of_a_distribution_say_so() -> None:
    named = {name for name, method in METHODS.items() if method.traits.distribution}
    assert named == {"deep_lift_shap", "expected_gradients", "gradient_shap", "layer_gradient_shap"}


@pytest.mark.parametrize("tolerance", [None, 0.3])
@pytest.mark.parametrize(
    "of", [DeepLiftShap(), GradientShap(n_samples=3)], ids=lambda m: m.traits.name
)
def test_noise_leaves_a_distribution_of_as_many_rows_as_examples_whole(
    of: Any, tolerance: float | None
) -> None:
    method = SmoothGrad(of=of, n_samples=2)
    question = Explicand.of(X, target=0, baselines=ROWS, tolerance=tolerance)
    found = explain(mlp(), method, question)
    expected = explain(mlp(), method, replace(question, background=True))
    torch.testing.assert_close(found.values, expected.values)
    assert found.rows_used == expected.rows_used


def test_one_baseline_is_not_repeated_with_the_copies_of_the_only_example() -> None:
    one = Explicand.of(X[:1], target=0, baselines=ROWS[:1], with_error=False)
    answer = explain(mlp(), SmoothGrad(of=DeepLift(), n_samples=5), one)
    assert answer.rows_used == 5 + 1


def test_a_scale_for_each_element_is_not_one_for_each_example() -> None:
    x = numbers(8, 8)
    scales = torch.arange(1.0, 9).double()
    question = replace(Explicand.of(x, target=0, tolerance=0.5), scales=(scales,))
    expected = replace(question, scales=(scales.expand(8, 8),))
    method = SmoothGrad()
    torch.testing.assert_close(
        explain(mlp(), method, question).values, explain(mlp(), method, expected).values
    )


def test_a_baseline_at_a_layer_without_the_examples_dimension_is_refused() -> None:
    x = numbers(16, 8)
    question = replace(Explicand.of(x, target=0, at=Site("1")), starts=(torch.zeros(16).double(),))
    for tolerance in (None, 0.2):
        with pytest.raises(InvalidArgument, match=r"layer_baselines\[0\] is .* as many dimensions"):
            explain(
                mlp(), METHODS["integrated_gradients"](), replace(question, tolerance=tolerance)
            )


class Planes(nn.Module):
    """Values of (examples, 3, 4) inside."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = nn.Unflatten(1, (3, 4))

    def forward(self, x: Tensor) -> Tensor:
        planes: Tensor = self.planes(x)
        return (planes * planes.flip(2)).flatten(1).cumsum(1)


def test_a_mask_at_a_layer_with_as_many_rows_as_examples_is_one_for_each() -> None:
    x, of_tokens = numbers(3, 12), torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 2]])
    question = replace(
        Explicand.of(x, target=11, at=Site("planes"), feature_mask=of_tokens), seed=3
    )
    for method in (FeatureAblation(), Rise(n_samples=20)):
        together = explain(Planes(), method, question).values[0]
        for i in range(3):
            alone = replace(
                Explicand.of(
                    x[i : i + 1], target=11, at=Site("planes"), feature_mask=of_tokens[i : i + 1]
                ),
                seed=3,
            )
            torch.testing.assert_close(
                together[i : i + 1], explain(Planes(), method, alone).values[0]
            )


@pytest.mark.parametrize(
    "method", [FeatureAblation(), Rise(n_samples=20)], ids=lambda m: m.traits.name
)
def test_a_mask_of_each_example_along_the_last_dimensions_says_the_same_in_a_batch(
    method: Any,
) -> None:
    x, masks = numbers(3, 12), torch.arange(12).view(3, 4) // 2
    question = Explicand.of(x, target=11, at=Site("planes"), feature_mask=masks, seed=3)
    together = explain(Planes(), method, question).values[0]
    whole = replace(question, feature_mask=(masks[:, None],))
    torch.testing.assert_close(together, explain(Planes(), method, whole).values[0])
    for i in range(3):
        alone = explain(Planes(), method, question.example(i)).values[0]
        torch.testing.assert_close(together[i : i + 1], alone)


def test_an_argument_of_as_many_entries_as_examples_may_be_declared_shared() -> None:
    x, weights = numbers(8, 8), numbers(8, seed=1)
    of_elements = attr.InputXGradient(lambda x, w: (x * w).sum(1))
    found = of_elements.attribute(x, additional_forward_args=Shared(weights))
    torch.testing.assert_close(found, x * weights)
    of_examples = attr.InputXGradient(lambda x, w: x.sum(1) * w)
    for given in (weights, PerExample(weights)):
        found = of_examples.attribute(x, additional_forward_args=given)
        torch.testing.assert_close(found, x * weights[:, None])


def test_noise_repeats_arguments_as_they_are_declared() -> None:
    x, weights = numbers(8, 8), numbers(8, seed=1)
    for each, argument, expected in (
        (lambda x, w: (x * w).sum(1), Shared(weights), weights.expand(8, 8)),
        (lambda x, w: x.sum(1) * w, PerExample(weights), weights[:, None].expand(8, 8)),
    ):
        tunnel = attr.NoiseTunnel(attr.Saliency(each))
        found = tunnel.attribute(x, nt_samples=3, additional_forward_args=argument, abs=False)
        torch.testing.assert_close(found, expected)
