"""Baselines drawn feature by feature."""

from __future__ import annotations

import random
from typing import Any

import pytest
from captum.attr import ProductBaselines as Reference

from adcaptum.attr.interpretable.product_baselines import ProductBaselines

LISTS: list[Any] = [
    [["a", "b"], [1, 2, 3]],
    {"name": ["Ann", "Bob", "Cy"], "age": [1, 2]},
    {("name", "pronoun"): [("Ann", "she"), ("Bob", "he")], "age": [1, 2]},
]


@pytest.mark.parametrize("values", LISTS, ids=["list", "dict", "groups"])
def test_draws_are_captums_for_the_same_seed(values: Any) -> None:
    draws = []
    for cls in (ProductBaselines, Reference):
        random.seed(1234)
        baselines = cls(values)
        draws.append([baselines() for _ in range(20)] + [baselines.sample()])
    assert draws[0] == draws[1]


def test_every_combination_is_drawn() -> None:
    random.seed(0)
    baselines = ProductBaselines(LISTS[0])
    assert len({tuple(baselines()) for _ in range(300)}) == 6


def test_no_feature_with_a_name_makes_an_empty_dictionary() -> None:
    assert ProductBaselines({}).sample() == {}


def test_a_group_whose_baseline_is_too_short_raises() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ProductBaselines({("a", "b"): [("x",)]}).sample()
