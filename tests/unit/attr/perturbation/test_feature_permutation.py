"""Feature permutation with functions of one's own, and of single examples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adcaptum.attr import FeaturePermutation
from adcaptum.attr.perturbation.feature_permutation import _permute_feature
from tests.captum_oracle import assert_captums, captums, ours
from tests.models import mlp, numbers

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
Y = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))


def swapped(t: Tensor, feature: Tensor) -> Tensor:
    return torch.where(feature, t.flip(0), t)


@pytest.mark.parametrize("per_eval", [1, 2, 50])
@pytest.mark.parametrize(
    "masks",
    [
        None,
        (torch.tensor([[0, 1, 1]]), torch.tensor([[1, 2]])),
        (torch.tensor([[5, 5, 9]]), torch.tensor(9)),
    ],
)
def test_a_function_of_ones_own_is_used_as_in_captum(
    masks: tuple[Tensor, ...] | None, per_eval: int
) -> None:
    def forward(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return x.prod(1) * y.sum(1).tanh() * scale

    assert_captums(
        "FeaturePermutation",
        (forward, swapped),
        (X, Y),
        additional_forward_args=torch.arange(4.0),
        feature_mask=masks,
        perturbations_per_eval=per_eval,
    )


def test_masks_of_each_example_go_to_the_function() -> None:
    mask = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert_captums(
        "FeaturePermutation", (lambda x: x.prod(1), swapped), X, feature_mask=mask, tolerance=1e-5
    )


def test_the_function_is_called_once_for_each_feature_with_all_examples() -> None:
    seen: list[tuple[int, list[list[bool]]]] = []

    def noted(t: Tensor, feature: Tensor) -> Tensor:
        seen.append((len(t), feature.tolist()))
        return swapped(t, feature)

    FeaturePermutation(lambda x: x.sum(1), noted).attribute(X)
    assert seen == [
        (4, [[True, False, False]]),
        (4, [[False, True, False]]),
        (4, [[False, False, True]]),
    ]


def test_the_default_permutes_the_masked_elements_together_and_no_others() -> None:
    x = numbers(6, 3)
    for _ in range(20):
        made = _permute_feature(x, torch.tensor([[True, False, True]]))
        assert torch.equal(made[:, 1], x[:, 1])
        order = [int((x[:, 0] == value).nonzero()) for value in made[:, 0]]
        assert sorted(order) == list(range(6))
        assert order != list(range(6))
        assert torch.equal(made[:, 2], x[order, 2])


def test_of_two_examples_each_gets_the_others_values() -> None:
    """There is one permutation that changes something, here as in Captum."""
    assert_captums("FeaturePermutation", (mlp(3).float(),), X[:2], target=1, tolerance=1e-5)


def test_on_average_it_is_what_captum_gives() -> None:
    def forward(x: Tensor) -> Tensor:
        return x.prod(1).tanh()

    def mean(answer: Callable[..., Tensor]) -> Tensor:
        torch.manual_seed(0)
        runs = [answer("FeaturePermutation", (forward,), X) for _ in range(120)]
        return torch.stack(runs).mean(0)

    torch.testing.assert_close(mean(ours), mean(captums), rtol=0, atol=0.12)


@pytest.mark.parametrize(
    ("forward", "rows"),
    [
        (lambda x: x.sum(1), 1),
        (lambda x: x, 3),
        (lambda x: x.sum(), 1),
        (lambda x: float(x.sum()), 1),
    ],
    ids=range(4),
)
def test_a_single_example_has_zeros_and_a_warning_in_the_log(
    forward: Any, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = FeaturePermutation(forward).attribute(X[:1])
    assert isinstance(answer, Tensor)
    assert torch.equal(answer, torch.zeros(rows, 3))
    assert "single example" in caplog.text
    theirs = captums("FeaturePermutation", (forward,), X[:1])
    assert theirs.shape == answer.shape
    assert not theirs.any()
