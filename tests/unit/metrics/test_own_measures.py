"""Measures of attributions alone: sparsity and localisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adcaptum import metrics
from adcaptum.attr.errors import InvalidInput


def attributions() -> Tensor:
    return torch.randn(6, 1, 4, 5, generator=torch.Generator().manual_seed(0))


def masks() -> Tensor:
    drawn = torch.rand(6, 1, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.4
    drawn[:, 0, 0, 0] = True
    return drawn


def test_sparseness_is_the_gini_index() -> None:
    found = metrics.sparseness(attributions()).values
    for value, row in zip(found.tolist(), attributions().flatten(1).abs().numpy(), strict=True):
        # Half of the relative mean absolute difference.
        differences = np.abs(row[:, None] - row[None]).mean()
        assert value == pytest.approx(differences / (2 * row.mean()), abs=1e-6)
    assert float(metrics.sparseness(torch.ones(1, 8)).values) == pytest.approx(0)
    one = torch.zeros(1, 8)
    one[0, 3] = -2
    assert float(metrics.sparseness(one).values) == pytest.approx(7 / 8)


def test_complexity_is_the_entropy_of_the_shares() -> None:
    found = metrics.complexity(attributions()).values
    shares = attributions().flatten(1).abs()
    shares = shares / shares.sum(1, keepdim=True)
    expected = torch.distributions.Categorical(probs=shares).entropy()
    torch.testing.assert_close(found, expected)
    one = torch.zeros(1, 8)
    one[0, 3] = -2
    assert float(metrics.complexity(one).values) == 0
    torch.testing.assert_close(
        metrics.complexity(torch.ones(1, 8)).values, torch.tensor([8.0]).log()
    )


def test_effective_complexity_counts_elements_of_all_inputs() -> None:
    pair = (
        torch.tensor([[0.1, -0.3], [0.0, 0.0]]),
        torch.tensor([[0.2, 1e-6, 5.0], [0.0, 1.0, 0.0]]),
    )
    assert metrics.effective_complexity(pair).values.tolist() == [4.0, 1.0]
    assert metrics.effective_complexity(pair, threshold=0.25).values.tolist() == [2.0, 1.0]


def test_localisation_is_as_defined() -> None:
    a, m = attributions(), masks()
    pointing, mass = metrics.pointing_game(a, m).values, metrics.relevance_mass(a, m).values
    rank = metrics.relevance_rank(a, m).values
    for i in range(6):
        row, inside = a[i].flatten().numpy(), m[i].flatten().numpy()
        assert float(pointing[i]) == float(inside[row.argmax()])
        positive = np.maximum(row, 0)
        assert float(mass[i]) == pytest.approx(positive[inside].sum() / positive.sum())
        first = np.argsort(-row)[: inside.sum()]
        assert float(rank[i]) == pytest.approx(inside[first].mean())


@pytest.mark.parametrize("digits", [0, 6])
def test_the_roc_area_is_that_of_scikit_learn(digits: int) -> None:
    from sklearn.metrics import roc_auc_score

    a, m = attributions().round(decimals=digits), masks()  # rounded to whole numbers there are ties
    found = metrics.localisation_auc(a, m).values
    for i in range(6):
        expected = roc_auc_score(m[i].flatten().numpy(), a[i].flatten().numpy())
        assert float(found[i]) == pytest.approx(expected)


def test_ties_at_the_top_share_the_point() -> None:
    a = torch.tensor([[2.0, 2.0, 1.0, 0.0]])
    assert float(metrics.pointing_game(a, torch.tensor([1, 0, 0, 0])).values) == 0.5


def test_a_mask_for_all_examples_broadcasts() -> None:
    a = attributions().expand(6, 3, 4, 5)
    one = metrics.relevance_mass(a, masks()[:1].float())
    each = metrics.relevance_mass(a, masks()[:1].expand(6, 3, 4, 5))
    assert torch.equal(one.values, each.values)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(6, 1, 3, 5), "that broadcasts to the attributions"),
        (torch.full((6, 1, 4, 5), 2), "masks is of other numbers"),
        (torch.zeros(6, 1, 4, 5), "masks is empty, or full"),
        (torch.ones(6, 1, 4, 5), "masks is empty, or full"),
    ],
)
def test_wrong_masks_are_named(mask: Tensor, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        metrics.relevance_rank(attributions(), mask)


@pytest.mark.parametrize("wrong", [torch.ones(3), [torch.ones(2, 2)], torch.ones(0, 4), ()])
def test_wrong_attributions_are_named(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="attributions is"):
        metrics.sparseness(wrong)
