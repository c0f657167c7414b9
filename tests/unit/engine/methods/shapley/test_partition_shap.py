"""Partition SHAP: what it asks for and what it says on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adcaptum.engine import (
    Attribution,
    EveryOutput,
    Explicand,
    Site,
    StopReason,
    explain,
)
from adcaptum.engine.methods.shapley.partition_shap import PartitionShap
from tests.games import gap
from tests.models import cnn, mlp, numbers, text_classifier, two_inputs

IMAGES = Explicand.of(numbers(2, 1, 8, 8), target=1, baselines=numbers(2, 1, 8, 8, seed=1))


@pytest.mark.parametrize(("max_evals", "used"), [(2, 2), (3, 2), (40, 40), (41, 40), (500, 500)])
def test_evaluations_are_spent_to_the_last_pair(max_evals: int, used: int) -> None:
    method = PartitionShap(max_evals)
    assert explain(cnn(), method, IMAGES).rows_used == method.rows(IMAGES) == 2 * used


def test_no_more_is_evaluated_than_there_is() -> None:
    explicand = Explicand.of(numbers(1, 8), target=0)
    # 21 splits of 8 features: 1, then 2 groups in 2 ways each, then 4 in 4 ways.
    assert explain(mlp(), PartitionShap(), explicand).rows_used == 2 + 2 * 21


def test_an_unsplit_group_shares_its_effect_evenly() -> None:
    answer = explain(cnn(), PartitionShap(2), IMAGES)
    expected = (gap(answer) / 64)[:, None, None, None].expand(-1, 1, 8, 8)
    torch.testing.assert_close(answer.values[0], expected)


def test_answers_on_the_way_are_complete_and_cost_more_and_more() -> None:
    reported: list[Attribution] = []
    explain(cnn(), PartitionShap(), IMAGES, on_progress=reported.append)
    rows = [answer.rows_used for answer in reported]
    assert rows == sorted(set(rows))
    assert len(rows) > 8
    for answer in reported:
        assert answer.completeness_error is not None
        torch.testing.assert_close(answer.values[0].flatten(1).sum(1), gap(answer))


def test_a_budget_gives_the_best_answer_so_far() -> None:
    answer = explain(cnn(), PartitionShap(), IMAGES, max_rows=300)
    assert answer.stop_reason is StopReason.BUDGET
    assert 100 < answer.rows_used <= 300


def test_every_output_shares_the_splits() -> None:
    every = explain(cnn(), PartitionShap(60), replace(IMAGES, target=EveryOutput()))
    assert every.values[0].shape == (6, 1, 8, 8)
    assert every.rows_used == 2 * 60
    torch.testing.assert_close(every.values[0].flatten(1).sum(1), gap(every))


def test_further_arguments_and_targets_go_with_their_examples() -> None:
    x, y, weight = numbers(3, 4), numbers(3, 3, seed=1), torch.tensor([0.5, 1.0, 2.0]).double()
    question = Explicand.of((x, y), target=[0, 3, 1], additional_forward_args=(weight,))
    answer = explain(two_inputs(), PartitionShap(), question)
    for i, target in enumerate([0, 3, 1]):
        alone = Explicand.of(
            (x[i : i + 1], y[i : i + 1]),
            target=target,
            additional_forward_args=(weight[i : i + 1],),
        )
        expected = explain(two_inputs(), PartitionShap(), alone)
        for values, own in zip(answer.values, expected.values, strict=True):
            torch.testing.assert_close(values[i : i + 1], own)


def test_tokens_are_explained_at_their_embedding() -> None:
    ids, mask = torch.tensor([[3, 1, 4], [1, 5, 9]]), torch.ones(2, 3, dtype=torch.int64)
    at_ids = Explicand.of(ids, target=1, baselines=10, additional_forward_args=(mask,))
    at_layer = replace(at_ids, at=Site("embedding"), feature_mask=(torch.arange(3)[None],))
    (embedded,) = explain(text_classifier(), PartitionShap(), at_layer).values
    (direct,) = explain(text_classifier(), PartitionShap(), at_ids).values
    torch.testing.assert_close(embedded, direct[:, :, None].expand(-1, -1, 6))


def test_examples_with_features_of_their_own_are_split_by_those() -> None:
    masks = torch.stack([torch.arange(64).view(1, 8, 8) // 4, torch.arange(64).view(1, 8, 8) // 32])
    question = replace(IMAGES, feature_mask=(masks,))
    method = PartitionShap(1000)
    answer = explain(cnn(), method, question)
    assert answer.rows_used == method.rows(question)
    assert IMAGES.baselines is not None
    for i in range(2):
        alone = Explicand.of(
            IMAGES.inputs[0][i : i + 1],
            target=1,
            baselines=IMAGES.baselines[0][i : i + 1],
            feature_mask=masks[i : i + 1],
        )
        (expected,) = explain(cnn(), method, alone).values
        torch.testing.assert_close(answer.values[0][i : i + 1], expected)


def test_rounding_errors_do_not_decide_between_equal_effects() -> None:
    def model(x: Tensor) -> Tensor:
        return x.sum(1)

    def noisy(x: Tensor) -> Tensor:
        # As another size of batch might: in the last bits.
        return x.sum(1) * (1 + 1e-15 * torch.arange(len(x)))

    explicand = Explicand.of(torch.ones(1, 64, dtype=torch.float64) * torch.pi)
    answers = [explain(each, PartitionShap(80), explicand).values[0] for each in (model, noisy)]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-9, atol=1e-9)


def test_outputs_that_are_no_numbers_end_too() -> None:
    answer = explain(lambda x: x.sum(1) * torch.nan, PartitionShap(), Explicand.of(numbers(1, 16)))
    assert bool(answer.values[0].isnan().all())
    assert answer.rows_used == 2 + 2 * 85
