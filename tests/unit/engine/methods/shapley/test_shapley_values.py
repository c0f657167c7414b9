"""Exact Shapley values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adcaptum.engine import Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.shapley.shapley_values import ShapleyValues
from tests.games import as_model, noise, shapley_by_orders
from tests.models import mlp, numbers, text_classifier, two_inputs


def test_a_game_is_solved_exactly() -> None:
    worths = noise(6, 0)
    explicand = Explicand.of(torch.ones(1, 6, dtype=torch.float64))
    (values,) = explain(as_model(worths), ShapleyValues(), explicand).values
    torch.testing.assert_close(values[0], shapley_by_orders(worths), rtol=1e-12, atol=1e-12)


def test_the_values_are_complete_and_the_ends_are_told() -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(3, 8, seed=1)
    answer = explain(model, ShapleyValues(), Explicand.of(x, target=2, baselines=x0))
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-14
    with torch.no_grad():
        torch.testing.assert_close(answer.output, model(x)[:, 2])
        torch.testing.assert_close(answer.baseline_output, model(x0)[:, 2])


def test_the_features_of_a_mask_are_complete_though_their_elements_repeat_them() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2]])
    explicand = Explicand.of(numbers(2, 8), target=1, feature_mask=mask)
    answer = explain(mlp(), ShapleyValues(), explicand)
    assert answer.rows_used == 2 * 8
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-14
    assert torch.equal(answer.values[0][:, 2], answer.values[0][:, 4])


def test_a_mask_over_two_inputs_has_features_of_both() -> None:
    x, y, weight = numbers(2, 4), numbers(2, 3, seed=1), torch.ones(2)
    masks = (torch.tensor([[0, 0, 1, 1]]), torch.tensor([[1, 0, 0]]))
    explicand = Explicand.of(
        (x, y), target=0, feature_mask=masks, additional_forward_args=(weight,)
    )
    first, second = explain(two_inputs(), ShapleyValues(), explicand).values
    assert torch.equal(first[:, :1], second[:, 1:2])
    with torch.no_grad():
        model = two_inputs()
        gap = (model(x, y, weight) - model(0 * x, 0 * y, weight))[:, 0]
    torch.testing.assert_close(first[:, 0] + first[:, 2], gap)


def test_tokens_are_explained_at_their_embedding_as_at_their_ids() -> None:
    ids, mask = torch.tensor([[3, 1, 4], [1, 5, 9]]), torch.ones(2, 3, dtype=torch.int64)
    at_ids = Explicand.of(ids, target=1, baselines=10, additional_forward_args=(mask,))
    tokens = torch.arange(3)[None]
    at_layer = replace(at_ids, at=Site("embedding"), feature_mask=(tokens,))
    (embedded,) = explain(text_classifier(), ShapleyValues(), at_layer).values
    (direct,) = explain(text_classifier(), ShapleyValues(), at_ids).values
    torch.testing.assert_close(embedded, direct[:, :, None].expand(-1, -1, 6))


def test_one_feature_has_the_whole_difference() -> None:
    explicand = Explicand.of(torch.tensor([[3.0]]), baselines=1.0)
    assert explain(lambda x: x[:, 0] ** 2, ShapleyValues(), explicand).values[0].tolist() == [[8]]


def test_too_many_features_are_refused_before_anything_is_evaluated() -> None:
    explicand = Explicand.of(numbers(1, 17), target=0)

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    with pytest.raises(InvalidArgument, match="shapley_value_sampling"):
        explain(never, ShapleyValues(), explicand)
    with pytest.raises(InvalidArgument, match="at most 16"):
        ShapleyValues().rows(explicand)


def test_too_many_features_at_a_layer_are_refused_when_their_number_is_known() -> None:
    explicand = Explicand.of(numbers(1, 8), target=0, at=Site("1"))
    with pytest.raises(InvalidArgument, match="16 features"):
        explain(mlp(), ShapleyValues(max_features=12), explicand)
