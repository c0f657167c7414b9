"""Grouping elements into features."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import Explicand, InvalidArgument, Site
from adcaptum.engine.games.features import Features, feature_count
from tests.models import numbers

LAYER = Site("layer")


def test_without_a_mask_each_element_is_a_feature() -> None:
    inputs = (numbers(2, 3), numbers(2, 2, 2))
    features = Features.of(Explicand.of(inputs), inputs)
    assert features.count == feature_count(Explicand.of(inputs)) == 7
    first, second = features.select(torch.arange(7)[None] == 4)
    assert not first.any()
    assert second.tolist() == [[[False, True], [False, False]]]


def test_any_numbers_become_dense_in_ascending_order() -> None:
    x = numbers(1, 4)
    explicand = Explicand.of(x, feature_mask=torch.tensor([[70, -5, 70, 1000]]))
    features = Features.of(explicand, (x,))
    assert features.count == feature_count(explicand) == 3
    assert features.ids[0].tolist() == [[1, 0, 1, 2]]


def test_equal_numbers_in_two_inputs_are_one_feature() -> None:
    inputs = (numbers(2, 2), numbers(2, 3))
    masks = (torch.tensor([[0, 1]]), torch.tensor([[1, 2, 2]]))
    features = Features.of(Explicand.of(inputs, feature_mask=masks), inputs)
    assert features.count == 3
    first, second = features.select(torch.tensor([[False, True, False]]))
    assert first.tolist() == [[False, True]]
    assert second.tolist() == [[True, False, False]]


def test_each_element_gets_its_features_value() -> None:
    inputs = (numbers(2, 2), numbers(2, 3).float())
    masks = (torch.tensor([[0, 1]]), torch.tensor([[1, 2, 2]]))
    features = Features.of(Explicand.of(inputs, feature_mask=masks), inputs)
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    first, second = features.spread(values, inputs, torch.float64)
    assert first.tolist() == [[1, 2], [4, 5]]
    assert second.tolist() == [[2, 3, 3], [5, 6, 6]]
    assert (first.dtype, second.dtype) == (torch.float64, torch.float32)


def test_a_mask_that_broadcasts_is_kept_small_and_the_values_are_whole() -> None:
    x = numbers(2, 3, 4, 4)
    mask = torch.arange(16).view(1, 1, 4, 4) // 8
    features = Features.of(Explicand.of(x, feature_mask=mask), (x,))
    assert features.ids[0].shape == (1, 1, 4, 4)
    (values,) = features.spread(torch.rand(2, 2), (x,), torch.float32)
    assert values.shape == x.shape
    assert values.is_contiguous()


def test_whole_numbers_get_values_of_the_outputs_dtype() -> None:
    ids = torch.tensor([[3, 4]])
    features = Features.of(Explicand.of(ids), (ids,))
    (values,) = features.spread(torch.rand(1, 2), (ids,), torch.bfloat16)
    assert values.dtype == torch.float32


def test_at_a_site_a_mask_of_tokens_groups_their_embeddings() -> None:
    ids, embeddings = torch.zeros(2, 3, dtype=torch.int64), numbers(2, 3, 3)
    explicand = Explicand.of(ids, at=LAYER, feature_mask=torch.tensor([[0, 0, 1]]))
    features = Features.of(explicand, (embeddings,))
    assert features.count == 2
    (kept,) = features.select(torch.tensor([[True, False]]))
    assert kept.expand(1, 3, 3)[0, :, 0].tolist() == [True, True, False]


def test_at_a_site_a_mask_may_have_the_sites_shape() -> None:
    ids, values = torch.zeros(2, 3, dtype=torch.int64), numbers(2, 5)
    explicand = Explicand.of(ids, at=LAYER, feature_mask=torch.tensor([[0, 0, 1, 1, 1]]))
    assert Features.of(explicand, (values,)).count == 2


@pytest.mark.parametrize(
    "masks", [torch.zeros(1, 4, dtype=torch.int64), [torch.zeros(1, 5, dtype=torch.int64)] * 2]
)
def test_a_mask_that_does_not_fit_the_site_is_refused(masks: torch.Tensor) -> None:
    explicand = Explicand.of(torch.zeros(2, 3), at=LAYER, feature_mask=masks)
    with pytest.raises(InvalidArgument, match="feature_mask"):
        Features.of(explicand, (numbers(2, 5),))


def test_a_mask_too_few_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="one per input: 2"):
        Explicand.of((numbers(1, 2), numbers(1, 3)), feature_mask=torch.tensor([[0, 1]]))


def test_inputs_without_elements_have_nothing_to_explain() -> None:
    x = torch.zeros(2, 0)
    with pytest.raises(InvalidArgument, match="has an element"):
        Features.of(Explicand.of(x), (x,))


def test_an_empty_input_beside_another_is_passed_over() -> None:
    inputs = (torch.zeros(2, 0), numbers(2, 3))
    features = Features.of(Explicand.of(inputs), inputs)
    assert features.count == 3
    assert [t.shape for t in features.spread(torch.rand(2, 3), inputs, torch.float64)] == [
        (2, 0),
        (2, 3),
    ]


def test_examples_may_have_groups_of_their_own() -> None:
    x = numbers(2, 3)
    mask = torch.tensor([[0, 0, 1], [1, 0, 0]])
    features = Features.of(Explicand.of(x, feature_mask=mask), (x,))
    assert features.own
    (kept,) = features.select(torch.tensor([[True, False]]), 1, 2)
    assert kept.tolist() == [[[False, True, True]]]
    (values,) = features.spread(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (x,), torch.float64)
    assert values.tolist() == [[1, 1, 2], [4, 3, 3]]


def test_the_numbers_of_a_features_elements_add_up_across_inputs() -> None:
    inputs = (torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 8.0, 16.0]]))
    masks = (torch.tensor([[0, 1]]), torch.tensor([[1, 2, 2]]))
    features = Features.of(Explicand.of(inputs, feature_mask=masks), inputs)
    assert features.totals(inputs).tolist() == [[1, 6, 24]]
