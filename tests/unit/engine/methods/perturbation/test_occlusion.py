"""Occlusion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adcaptum.engine import Explicand, InvalidArgument, Site, explain
from adcaptum.engine.methods.perturbation.feature_ablation import FeatureAblation
from adcaptum.engine.methods.perturbation.occlusion import Occlusion
from tests.models import cnn, mlp, numbers, text_classifier, two_inputs

IMAGES = numbers(2, 1, 8, 8)


def weighted_sum(x: Tensor) -> Tensor:
    return (x * torch.arange(1.0, 7.0)).sum(1)


def test_an_element_has_the_mean_loss_of_the_windows_that_cover_it() -> None:
    explicand = Explicand.of(torch.ones(1, 6))
    (values,) = explain(weighted_sum, Occlusion((3,), (2,)), explicand).values
    # Windows 1+2+3, 3+4+5 and, cut off at the border, 5+6.
    assert values.tolist() == [[6.0, 6.0, 9.0, 12.0, 11.5, 11.0]]


def test_a_window_of_one_element_is_feature_ablation() -> None:
    explicand = Explicand.of(numbers(3, 8), target=1, baselines=numbers(3, 8, seed=1))
    one = explain(mlp(), Occlusion((1,)), explicand)
    other = explain(mlp(), FeatureAblation(), explicand)
    torch.testing.assert_close(one.values[0], other.values[0], rtol=1e-12, atol=1e-12)


def test_it_gives_the_output_and_no_error() -> None:
    answer = explain(cnn(), Occlusion(), Explicand.of(IMAGES, target=0))
    assert answer.output is not None
    torch.testing.assert_close(answer.output, cnn()(IMAGES)[:, 0].detach())
    assert answer.completeness_error is None
    assert answer.standard_error is None


def test_images_default_to_an_eighth_of_height_and_width_in_steps_of_a_half() -> None:
    explicand = Explicand.of(numbers(2, 3, 16, 32), target=0)
    assert Occlusion().rows(explicand) == 2 * (15 * 15 + 1)
    explicit = Occlusion((3, 2, 4), (2, 1, 2))
    assert explicit.rows(explicand) == Occlusion().rows(explicand)


def test_vectors_default_to_one_element() -> None:
    assert Occlusion().rows(Explicand.of(numbers(2, 8))) == 2 * 9


def test_windows_without_strides_move_by_one() -> None:
    assert Occlusion((3,)).rows(Explicand.of(numbers(1, 8))) == 6 + 1


def test_one_stride_is_for_all_dimensions() -> None:
    explicand = Explicand.of(IMAGES, target=2)
    one = explain(cnn(), Occlusion((1, 4, 4), (1,)), explicand)
    all_ones = explain(cnn(), Occlusion((1, 4, 4), (1, 1, 1)), explicand)
    torch.testing.assert_close(one.values[0], all_ones.values[0], rtol=1e-12, atol=1e-12)


def test_the_windows_of_several_inputs_stand_in_a_row() -> None:
    x, y, weight = numbers(2, 4), numbers(2, 3, seed=1), torch.ones(2)
    explicand = Explicand.of((x, y), target=2, additional_forward_args=(weight,))
    method = Occlusion((2, 3))
    answer = explain(two_inputs(), method, explicand)
    assert answer.rows_used == method.rows(explicand) == 2 * (3 + 1 + 1)
    with torch.no_grad():
        model = two_inputs()
        lost = (model(x, y, weight) - model(x, torch.zeros_like(y), weight))[:, 2]
    torch.testing.assert_close(answer.values[1], lost[:, None].expand(-1, 3))


@pytest.mark.parametrize(
    ("windows", "strides", "field"),
    [
        ((3, 3), None, "sliding_window_shapes"),
        ((2, 3, 3), None, "sliding_window_shapes"),
        ((1, 3, 3), (1, 4, 3), "strides"),
        ((1, 3, 3), (1, 3), "strides"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    windows: tuple[int, ...], strides: tuple[int, ...] | None, field: str
) -> None:
    with pytest.raises(InvalidArgument, match=field):
        Occlusion(windows, strides).rows(Explicand.of(IMAGES))


def test_a_window_may_fit_a_layer_and_not_the_inputs() -> None:
    at_layer = Explicand.of(IMAGES, target=0, at=Site("0"))
    method = Occlusion((4, 3, 3))
    assert explain(cnn(), method, at_layer).values[0].shape == (2, 4, 8, 8)
    assert method.rows(at_layer) == 2 * 2 + 2 * 65  # as if each element of the input were a window


def test_embeddings_are_covered_at_their_layer() -> None:
    ids, mask = torch.tensor([[3, 1, 4, 1]]), torch.ones(1, 4, dtype=torch.int64)
    at_ids = Explicand.of(ids, target=0, baselines=10, additional_forward_args=(mask,))
    at_layer = replace(at_ids, at=Site("embedding"))
    model = text_classifier()
    (embedded,) = explain(model, Occlusion((2, 6), (1, 6)), at_layer).values
    (direct,) = explain(model, Occlusion((2,)), at_ids).values
    torch.testing.assert_close(embedded, direct[:, :, None].expand(-1, -1, 6))


def test_token_ids_give_values_of_the_outputs_dtype() -> None:
    ids, mask = torch.tensor([[3, 1, 4, 1]]), torch.ones(1, 4, dtype=torch.int64)
    explicand = Explicand.of(ids, target=0, additional_forward_args=(mask,))
    assert explain(text_classifier(), Occlusion(), explicand).values[0].dtype == torch.float64


def test_a_baseline_of_nan_does_not_leak() -> None:
    x0 = torch.tensor([[0.0, torch.nan, 0.0]])
    explicand = Explicand.of(torch.ones(1, 3), baselines=x0)
    (values,) = explain(lambda x: x.nan_to_num(nan=-1).sum(1), Occlusion((1,)), explicand).values
    assert values.tolist() == [[1.0, 2.0, 1.0]]


def test_a_tolerance_changes_nothing() -> None:
    explicand = Explicand.of(numbers(2, 1, 16, 16), target=0)
    exact = explain(cnn(), Occlusion((1, 6, 6)), explicand)
    answer = explain(cnn(), Occlusion((1, 6, 6)), replace(explicand, tolerance=0.2))
    torch.testing.assert_close(answer.values[0], exact.values[0])
    assert answer.rows_used == exact.rows_used
    assert answer.relative_error is None
