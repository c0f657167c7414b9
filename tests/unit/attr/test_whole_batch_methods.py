"""Perturbation methods of forwards that answer for the batch as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.attr import FeatureAblation, FeaturePermutation, KernelShap, Lime, ShapleyValues
from tests.captum_oracle import assert_same, captums, ours
from tests.models import mlp, numbers

MODEL = mlp()
X = numbers(3, 8)
LABELS = torch.tensor([0, 2, 1])
PAIRS = torch.arange(8)[None] // 2


def loss(x: Tensor) -> Tensor:
    """Works with batches of three only."""
    return nn.functional.cross_entropy(MODEL(x), LABELS)


@pytest.mark.parametrize(
    "forward", [loss, lambda x: float(loss(x)), lambda x: loss(x).reshape(1)], ids=range(3)
)
def test_a_loss_is_explained_as_captum_does(forward: Any) -> None:
    for name in ("FeatureAblation", "ShapleyValues"):
        mine = ours(name, (forward,), X, feature_mask=PAIRS)
        assert mine.shape == (1, 8)
        assert_same(mine.double(), captums(name, (forward,), X, feature_mask=PAIRS).double())


def test_several_perturbations_at_once_are_refused() -> None:
    for attribution in (FeatureAblation(loss), ShapleyValues(loss), Lime(loss), KernelShap(loss)):
        with pytest.raises(AssertionError, match="perturbations_per_eval"):
            attribution.attribute(X, feature_mask=PAIRS, perturbations_per_eval=2)


def test_masks_of_each_example_are_refused() -> None:
    masks = torch.stack([torch.arange(8) // 2, torch.arange(8) // 4, torch.arange(8)])
    for attribution in (FeatureAblation(loss), ShapleyValues(loss)):
        with pytest.raises(AssertionError, match="feature_mask"):
            attribution.attribute(X, feature_mask=masks)


def test_the_forward_is_called_once_for_each_perturbation_and_once_to_ask() -> None:
    sizes = []

    def forward(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return loss(x)

    FeatureAblation(forward).attribute(X, feature_mask=PAIRS)
    assert sizes == [3] * (1 + 5)


def test_a_forward_that_answers_row_by_row_sees_few_large_batches() -> None:
    sizes: list[int] = []

    def forward(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return MODEL(x)[:, 0]

    FeatureAblation(forward).attribute(X)
    assert sum(sizes) == 3 + 27
    assert len(sizes) < 1 + 9
    sizes.clear()
    FeatureAblation(forward).attribute(X, perturbations_per_eval=2)
    assert sizes[0] == 3
    assert max(sizes) == 6


def test_a_module_is_asked_once_how_it_answers() -> None:
    class Counted(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            answer: Tensor = MODEL(x)
            return answer

    model = Counted().eval()
    FeatureAblation(model).attribute(X, target=0, perturbations_per_eval=9)
    first = model.calls
    FeatureAblation(model).attribute(X, target=0, perturbations_per_eval=9)
    assert (first, model.calls) == (2, 3)


def test_what_the_forward_raises_is_raised() -> None:
    def forward(x: Tensor) -> Tensor:
        raise ZeroDivisionError("always")

    with pytest.raises(ZeroDivisionError, match="always"):
        FeatureAblation(forward).attribute(X)


def test_a_metric_is_permuted() -> None:
    def swapped(t: Tensor, feature: Tensor) -> Tensor:
        return torch.where(feature, t.flip(0), t)

    answer = FeaturePermutation(loss, swapped).attribute(X, feature_mask=PAIRS)
    assert isinstance(answer, Tensor)
    assert answer.shape == (1, 8)
    with torch.no_grad():
        exchanged = X.clone()
        exchanged[:, 2:4] = X.flip(0)[:, 2:4]
        expected = loss(X) - loss(exchanged)
    torch.testing.assert_close(answer[0, 2:4], expected.expand(2))


def test_a_loss_has_one_surrogate_by_the_similarity_of_the_batch() -> None:
    slopes = numbers(3, 8, seed=2)

    def forward(x: Tensor) -> Tensor:
        return (x * slopes).sum()

    for attribution in (Lime(forward), KernelShap(forward)):
        answer = attribution.attribute(X, feature_mask=PAIRS, n_samples=500)
        coefficients = attribution.attribute(
            X, feature_mask=PAIRS, n_samples=500, return_input_shape=False
        )
        assert isinstance(answer, Tensor)
        assert isinstance(coefficients, Tensor)
        assert answer.shape == (1, 8)
        assert coefficients.shape == (1, 4)
        exact = (X * slopes).sum(0).view(4, 2).sum(1)
        torch.testing.assert_close(coefficients[0], exact, rtol=0.02, atol=0.05)
