"""LIME whose samples have other shapes than the inputs, and LIME of every coalition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression
from captum.attr import Lime as CaptumsLime, LimeBase as CaptumsBase
from torch import Tensor, nn

from adcaptum.attr import Lime, LimeBase
from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.surrogates import linear_models
from tests.captum_oracle import assert_same, silently

TEXT = torch.tensor([[1, 2, 3, 4, 5, 6]])


class Bag(nn.Module):
    """Classifies a text by the mean of its words, as in Captum's notebook on text."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.words = nn.Parameter(torch.randn(10, 2, generator=generator))

    def forward(self, text: Tensor) -> Tensor:
        return self.words[text].mean(1)


def words(text: Tensor, **_: Any) -> Tensor:
    """Each word or not; the first always."""
    shown = torch.bernoulli(torch.full(text.shape, 0.5)).long()
    shown[0, 0] = 1
    return shown


def without_words(shown: Tensor, text: Tensor, **_: Any) -> Tensor:
    return text[shown.bool()].view(text.size(0), -1)


def near(_original: Tensor, perturbed: Tensor, *_: Any, **__: Any) -> float:
    return float(perturbed.shape[1])


def frame(kind: Any, forward: Any) -> Any:
    surrogate = SkLearnLinearRegression()
    return kind(forward, surrogate, near, words, True, without_words, None)


@pytest.mark.parametrize("per_eval", [1, 4])
@pytest.mark.parametrize("forward", [Bag(), Bag().forward])
def test_texts_without_some_words_are_captums(forward: Any, per_eval: int) -> None:
    torch.manual_seed(1)
    theirs = silently(frame(CaptumsBase, forward).attribute, TEXT, target=1, n_samples=150)
    torch.manual_seed(1)
    # Captum takes such samples one at a time only.
    mine = frame(LimeBase, forward).attribute(
        TEXT, target=1, n_samples=150, perturbations_per_eval=per_eval
    )
    assert_same(mine, theirs)


def test_samples_of_other_examples_are_refused() -> None:
    def doubled(shown: Tensor, text: Tensor, **_: Any) -> Tensor:
        return torch.cat([text, text])

    method: Any = LimeBase(Bag(), SkLearnLinearRegression(), near, words, True, doubled, None)
    with pytest.raises(InvalidInput, match="of 1 examples"):
        method.attribute(TEXT, target=1)


X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def curved(x: Tensor) -> Tensor:
    return (x * torch.tensor([1.0, 2.0, 3.0])).sum(1) + x[:, 0] * x[:, 1]


def every(_original: Tensor, **_: Any) -> Iterator[Tensor]:
    for coalition in range(8):
        yield torch.tensor([[coalition & 1, coalition >> 1 & 1, coalition >> 2 & 1]])


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (SkLearnLinearRegression(), linear_models.SkLearnLinearRegression()),
        (SkLearnLasso(alpha=0.01), linear_models.SkLearnLasso(alpha=0.01)),
    ],
)
@pytest.mark.parametrize("n_samples", [8, 25])
def test_where_all_coalitions_fit_the_value_is_captums_exact_one(
    theirs: Any, mine: Any, n_samples: int
) -> None:
    exact = silently(CaptumsLime(curved, theirs, perturb_func=every).attribute, X, n_samples=8)
    method: Any = Lime(curved, mine)
    for _ in range(2):  # without chance
        found = silently(method.attribute, X, n_samples=n_samples)
        assert_same(found, exact, 1e-4)


def test_the_default_surrogate_of_all_coalitions_is_captums_exact_lasso() -> None:
    for row in X.split(1):
        shown = torch.cat(list(every(row))).float()
        outputs = curved(row * shown)
        near = torch.nn.functional.cosine_similarity(row * shown, row)
        weights = torch.exp(-((1 - near) ** 2) / 2)
        share = weights / weights.sum()
        spread = float((share * (outputs - share @ outputs) ** 2).sum().sqrt())
        theirs = SkLearnLasso(alpha=0.001 * spread)
        exact = silently(
            CaptumsLime(curved, theirs, perturb_func=every).attribute, row, n_samples=8
        )
        assert_same(Lime(curved).attribute(row, n_samples=8), exact, 1e-3)
