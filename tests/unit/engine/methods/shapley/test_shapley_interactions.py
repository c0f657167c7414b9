"""Shapley interactions: the form of their answer."""

from __future__ import annotations

import pytest
import torch

from adcaptum.engine import EveryOutput, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.shapley.shapley_interactions import ShapleyInteractions
from adcaptum.engine.methods.shapley.shapley_values import ShapleyValues
from tests.models import cnn, mlp, numbers, two_inputs


def test_the_answer_is_one_matrix_of_pairs() -> None:
    explicand = Explicand.of(numbers(3, 8), target=1)
    answer = explain(mlp(), ShapleyInteractions(), explicand)
    assert answer.pairs
    assert [tuple(values.shape) for values in answer.values] == [(3, 8, 8)]
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-14


def test_other_methods_answers_are_of_elements() -> None:
    answer = explain(mlp(4), ShapleyValues(), Explicand.of(numbers(1, 4), target=1))
    assert not answer.pairs


def test_features_stand_in_the_order_of_the_masks_numbers_over_all_inputs() -> None:
    x, y = numbers(2, 4), numbers(2, 3, seed=1)
    masks = (torch.tensor([[9, 9, 2, 2]]), torch.tensor([[2, 5, 5]]))
    explicand = Explicand.of(
        (x, y), target=0, feature_mask=masks, additional_forward_args=(torch.ones(2),)
    )
    answer = explain(two_inputs(), ShapleyInteractions(), explicand)
    assert answer.values[0].shape == (2, 3, 3)
    (first, second) = explain(two_inputs(), ShapleyValues(), explicand).values
    expected = torch.stack([first[:, 2], second[:, 1], first[:, 0]], 1)
    torch.testing.assert_close(answer.values[0].sum(2), expected)


def test_with_noise_the_answer_is_still_of_pairs() -> None:
    explicand = Explicand.of(numbers(2, 4), target=1)
    answer = explain(mlp(4), SmoothGrad(of=ShapleyInteractions(), n_samples=3), explicand)
    assert answer.pairs
    assert answer.values[0].shape == (2, 4, 4)


def test_every_output_has_a_matrix() -> None:
    mask = (torch.arange(8)[:, None] // 4 * 2 + torch.arange(8) // 4)[None, None]
    every = Explicand.of(numbers(2, 1, 8, 8), target=EveryOutput(), feature_mask=mask)
    answer = explain(cnn(), ShapleyInteractions(), every)
    assert answer.values[0].shape == (6, 4, 4)
    assert answer.rows_used == 2 * 16


def test_a_layers_features_interact() -> None:
    explicand = Explicand.of(
        numbers(2, 8), target=0, at=Site("1"), feature_mask=torch.arange(16)[None] // 4
    )
    answer = explain(mlp(), ShapleyInteractions(), explicand)
    assert answer.values[0].shape == (2, 4, 4)
    assert answer.rows_used == ShapleyInteractions().rows(explicand) == 2 * 2 + 2 * 16


def test_integer_inputs_have_interactions_in_the_outputs_dtype() -> None:
    explicand = Explicand.of(torch.tensor([[1, 2, 3]]))
    answer = explain(lambda x: x.double().prod(1), ShapleyInteractions(), explicand)
    assert answer.values[0].dtype == torch.float64
    # A product of three, with zeros as baseline, is shared by all pairs and features alike.
    assert float(answer.values[0].sum()) == pytest.approx(6)


def test_too_many_features_are_refused_before_anything_is_evaluated() -> None:
    explicand = Explicand.of(numbers(1, 15), target=0)

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    with pytest.raises(InvalidArgument, match="at most 14"):
        explain(never, ShapleyInteractions(), explicand)
    with pytest.raises(InvalidArgument, match="15 features"):
        ShapleyInteractions().rows(explicand)
