"""Inputs whose first dimension is not the examples, in every method that takes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.futures import Future

from adcaptum import attr
from tests.captum_oracle import assert_same, captums, ours
from tests.models import numbers

ROWS = numbers(3, 2).float()
LISTS = [numbers(5).float(), numbers(5, 2).float(), torch.zeros(0), torch.zeros(0, 4)]
EXACT = ["FeatureAblation", "ShapleyValueSampling", "ShapleyValues"]


def total(rows: Tensor, loose: Tensor) -> Tensor:
    return rows.sum(1) + loose.sum()


def weighted(rows: Tensor, loose: Tensor) -> Tensor:
    """Depends on the order of the list, too."""
    return rows.sum(1) + (loose * torch.arange(len(loose))).sum()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("loose", LISTS, ids=lambda t: str(tuple(t.shape)))
def test_a_list_is_explained_whole(name: str, loose: Tensor) -> None:
    mine = ours(name, (total,), (ROWS, loose))
    # Captum's ShapleyValues raise for an empty list; all three are exact here.
    assert_same(mine, captums("FeatureAblation", (total,), (ROWS, loose)))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("forward", [total, lambda a, b: a.sum() + b.sum()])
def test_perturbations_at_once_do_not_mix(name: str, forward: Any) -> None:
    alone = ours(name, (forward,), (ROWS, LISTS[0]))
    assert_same(ours(name, (forward,), (ROWS, LISTS[0]), perturbations_per_eval=3), alone)


@pytest.mark.parametrize("name", EXACT)
def test_masks_and_baselines_go_with_the_lists(name: str) -> None:
    arguments = {"baselines": (0.5, torch.tensor(2.0)), "feature_mask": _masks(name)}
    mine = ours(name, (total,), (ROWS, LISTS[0]), **arguments)
    assert_same(mine[0], (ROWS - 0.5).sum(1, keepdim=True).expand(3, 2))
    assert_same(mine[1], (LISTS[0] - 2).sum().expand(3))


def _masks(name: str) -> tuple[Tensor, Tensor]:
    second = torch.tensor([1.0]) if name != "ShapleyValues" else torch.tensor([1])
    return torch.zeros(1, 2), second


@pytest.mark.parametrize("name", [*EXACT, "FeaturePermutation"])
def test_a_future_holds_the_same(name: str) -> None:
    def later(rows: Tensor, loose: Tensor) -> Future[Tensor]:
        answer: Future[Tensor] = Future()
        answer.set_result(weighted(rows, loose))
        return answer

    torch.manual_seed(3)
    now = ours(name, (weighted,), (ROWS, LISTS[0]))
    torch.manual_seed(3)
    found = getattr(attr, name)(later).attribute_future((ROWS, LISTS[0]), perturbations_per_eval=2)
    assert isinstance(found, Future)
    assert_same(found.wait(), now)


def reversing(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x.flip(0), x)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]], ids=len)
@pytest.mark.parametrize("loose", LISTS, ids=lambda t: str(tuple(t.shape)))
def test_the_rows_of_a_list_are_exchanged_among_themselves(rows: Tensor, loose: Tensor) -> None:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a.sum(1) + (b.T * torch.arange(len(b))).sum()

    inputs = (rows, loose)
    assert_same(
        ours("FeaturePermutation", (forward, reversing), inputs),
        captums("FeaturePermutation", (forward, reversing), inputs),
    )


def test_a_list_is_permuted_by_chance() -> None:
    torch.manual_seed(0)
    _, of_list = ours("FeaturePermutation", (weighted,), (ROWS, LISTS[0]))
    assert of_list.shape == (3,)
    assert (of_list == of_list[0]).all()
    assert of_list[0] != 0
