"""Feature ablation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import Explicand, ModelError, Neuron, Site, explain
from adcaptum.engine.methods.perturbation.feature_ablation import FeatureAblation
from tests.models import cnn, mlp, numbers, text_classifier, two_inputs


def test_a_feature_is_worth_what_the_target_loses_without_it() -> None:
    model, x, x0 = mlp(), numbers(2, 8), numbers(2, 8, seed=1)
    answer = explain(model, FeatureAblation(), Explicand.of(x, target=1, baselines=x0))
    without = x.clone()
    without[:, 3] = x0[:, 3]
    with torch.no_grad():
        expected = (model(x) - model(without))[:, 1]
        output = model(x)[:, 1]
    torch.testing.assert_close(answer.values[0][:, 3], expected, rtol=1e-12, atol=1e-12)
    assert answer.output is not None
    torch.testing.assert_close(answer.output, output)


def test_it_gives_no_error_and_takes_one_row_a_feature_and_one_for_the_input() -> None:
    answer = explain(mlp(), FeatureAblation(), Explicand.of(numbers(3, 8), target=0))
    assert answer.standard_error is None
    assert answer.completeness_error is None
    assert answer.baseline_output is None
    assert answer.rows_used == 3 * 9


def test_features_across_two_inputs_are_ablated_together() -> None:
    x, y, weight = numbers(2, 4), numbers(2, 3, seed=1), numbers(2, seed=2).abs()
    masks = (torch.tensor([[0, 1, 1, 9]]), torch.tensor([[9, 2, 2]]))
    explicand = Explicand.of(
        (x, y), target=2, feature_mask=masks, additional_forward_args=(weight, 3.0)
    )
    model = two_inputs()
    first, second = explain(model, FeatureAblation(), explicand).values
    without_x, without_y = x.clone(), y.clone()
    without_x[:, 3], without_y[:, 0] = 0, 0
    with torch.no_grad():
        lost = (model(x, y, weight, 3.0) - model(without_x, without_y, weight, 3.0))[:, 2]
    torch.testing.assert_close(first[:, 3], lost)
    torch.testing.assert_close(second[:, 0], lost)
    assert torch.equal(first[:, 1], first[:, 2])


def test_token_ids_are_ablated_as_whole_numbers() -> None:
    ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    mask = torch.ones(2, 4, dtype=torch.int64)
    model = text_classifier()
    explicand = Explicand.of(ids, target=1, baselines=10, additional_forward_args=(mask,))
    (values,) = explain(model, FeatureAblation(), explicand).values
    assert values.dtype == torch.float64
    changed = ids.clone()
    changed[:, 2] = 10
    with torch.no_grad():
        lost = (model(ids, mask)["logits"] - model(changed, mask)["logits"])[:, 1]
    torch.testing.assert_close(values[:, 2], lost)


def test_embeddings_are_ablated_token_by_token_at_their_layer() -> None:
    ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
    mask = torch.ones(2, 4, dtype=torch.int64)
    model = text_classifier()
    tokens = torch.arange(4)[None]
    at_layer = Explicand.of(
        ids,
        target=1,
        baselines=10,
        additional_forward_args=(mask,),
        at=Site("embedding"),
        feature_mask=tokens,
    )
    at_ids = Explicand.of(ids, target=1, baselines=10, additional_forward_args=(mask,))
    (embedded,) = explain(model, FeatureAblation(), at_layer).values
    (direct,) = explain(model, FeatureAblation(), at_ids).values
    assert embedded.shape == (2, 4, 6)
    torch.testing.assert_close(embedded, direct[:, :, None].expand(-1, -1, 6))


def test_at_a_layer_without_a_mask_each_element_is_a_feature() -> None:
    model, x, x0 = mlp(), numbers(2, 8), numbers(1, 8, seed=1)
    explicand = Explicand.of(x, target=0, baselines=x0, at=Site("1"))
    answer = explain(model, FeatureAblation(), explicand)
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        hidden, hidden0 = model[:2](x), model[:2](x0)
        without = hidden.clone()
        without[:, 5] = hidden0[:, 5]
        lost = (model[2:](hidden) - model[2:](without))[:, 0]
    assert answer.values[0].shape == (2, 16)
    torch.testing.assert_close(answer.values[0][:, 5], lost)


def test_the_rows_at_a_layer_with_a_mask_are_foretold() -> None:
    mask = torch.arange(16)[None] // 4
    explicand = Explicand.of(numbers(2, 8), target=0, at=Site("1"), feature_mask=mask)
    method = FeatureAblation()
    assert explain(mlp(), method, explicand).rows_used == method.rows(explicand) == 2 * (5 + 2)


def test_a_neuron_is_explained_like_an_output() -> None:
    model, x = mlp(), numbers(2, 8)
    explicand = Explicand.of(x, target=Neuron(Site("1"), (4,)))
    (values,) = explain(model, FeatureAblation(), explicand).values
    without = x.clone()
    without[:, 0] = 0
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        lost = (model[:2](x) - model[:2](without))[:, 4]
    torch.testing.assert_close(values[:, 0], lost)


def test_a_baseline_of_nan_does_not_leak() -> None:
    x0 = torch.tensor([[0.0, torch.nan]])
    explicand = Explicand.of(torch.tensor([[1.0, 2.0]]), baselines=x0)
    (values,) = explain(lambda x: x.nan_to_num(nan=-1).sum(1), FeatureAblation(), explicand).values
    assert values.tolist() == [[1.0, 3.0]]


def test_half_precision_is_answered_in_float32() -> None:
    model = mlp().to(torch.bfloat16)
    explicand = Explicand.of(numbers(2, 8).to(torch.bfloat16), target=0)
    answer = explain(model, FeatureAblation(), explicand)
    assert answer.values[0].dtype == torch.float32


def test_models_that_answer_in_whole_numbers_are_explained() -> None:
    model = cnn()

    def decide(x: Tensor) -> Tensor:
        return model(x).argmax(1)

    mask = torch.arange(64).view(1, 1, 8, 8) // 8
    explicand = Explicand.of(numbers(4, 1, 8, 8) * 9, feature_mask=mask)
    (values,) = explain(decide, FeatureAblation(), explicand).values
    assert torch.equal(values, values.round())


def test_a_layer_of_a_plain_function_is_refused() -> None:
    explicand = Explicand.of(numbers(1, 2), at=Site("layer"))
    with pytest.raises(ModelError, match=r"nn\.Module"):
        explain(lambda x: x.sum(1), FeatureAblation(), explicand)


def test_examples_with_masks_of_their_own_are_explained_as_alone() -> None:
    model, x = mlp(), numbers(2, 8)
    masks = torch.stack([torch.arange(8) // 2, torch.arange(8) % 3])
    together = explain(
        model, FeatureAblation(), Explicand.of(x, target=1, feature_mask=masks), batch_rows=3
    )
    for i in range(2):
        alone = Explicand.of(x[i : i + 1], target=1, feature_mask=masks[i : i + 1])
        (expected,) = explain(model, FeatureAblation(), alone).values
        torch.testing.assert_close(together.values[0][i : i + 1], expected)
