"""KernelShap."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adcaptum.engine import (
    Attribution,
    Explicand,
    InvalidArgument,
    Site,
    StopReason,
    explain,
)
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.kernel_shap import KernelShap
from adcaptum.engine.methods.shapley.pair_plan import plan
from adcaptum.engine.vocabulary.method import multiply_adds
from tests.games import as_model, gap, multiplicative, noise
from tests.models import mlp, numbers, text_classifier, two_inputs


def ones(players: int) -> Explicand:
    return Explicand.of(torch.ones(1, players, dtype=torch.float64))


@pytest.mark.parametrize("players", [1, 2, 3, 4, 7, 10])
def test_all_coalitions_give_the_shapley_values(players: int) -> None:
    worths = noise(players, 0)
    answer = explain(as_model(worths), KernelShap(), ones(players))
    expected = shapley_values(worths[None])
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-10, atol=1e-10)
    assert answer.standard_error is not None
    assert answer.standard_error.tolist() == [0]
    assert answer.rows_used == 2**players


def test_a_product_of_eight_factors_is_complete_to_rounding() -> None:
    answer = explain(as_model(multiplicative(8, 0)), KernelShap(100), ones(8))
    torch.testing.assert_close(answer.values[0].sum(1), gap(answer), rtol=1e-13, atol=1e-14)


def test_a_linear_model_of_forty_features_is_explained_exactly_by_default() -> None:
    weights = torch.arange(1.0, 41.0, dtype=torch.float64)
    explicand = Explicand.of(torch.ones(1, 40, dtype=torch.float64))
    answer = explain(lambda x: x @ weights, KernelShap(), explicand)
    torch.testing.assert_close(answer.values[0][0], weights, rtol=1e-10, atol=1e-10)
    assert answer.rows_used == 2 * 40 + 2048 + 2


@pytest.mark.parametrize("n_samples", [25, 119])
def test_too_few_samples_are_refused_before_anything_is_evaluated(n_samples: int) -> None:
    explicand = Explicand.of(numbers(1, 30), target=0)

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    with pytest.raises(InvalidArgument, match="at least 120"):
        explain(never, KernelShap(n_samples), explicand)
    with pytest.raises(InvalidArgument, match="n_samples"):
        KernelShap(n_samples).rows(explicand)


def test_too_many_features_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at most 1024"):
        explain(mlp(), KernelShap(), Explicand.of(torch.zeros(1, 5000), target=0))


@pytest.mark.parametrize(("n_samples", "rows"), [(200, 202), (201, 202), (254, 256), (9999, 256)])
def test_samples_come_in_pairs_and_no_more_than_there_are(n_samples: int, rows: int) -> None:
    explicand, method = Explicand.of(numbers(3, 8), target=0), KernelShap(n_samples)
    assert explain(mlp(), method, explicand).rows_used == method.rows(explicand) == 3 * rows


def test_the_ends_are_told() -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(3, 8, seed=1)
    answer = explain(model, KernelShap(100), Explicand.of(x, target=2, baselines=x0))
    with torch.no_grad():
        torch.testing.assert_close(answer.output, model(x)[:, 2])
        torch.testing.assert_close(answer.baseline_output, model(x0)[:, 2])


def test_answers_on_the_way_are_complete_and_get_more_exact() -> None:
    reported: list[Attribution] = []
    explicand = Explicand.of(numbers(1, 30), target=0)
    explain(mlp(30), KernelShap(8000), explicand, on_progress=reported.append)
    found = [answer.standard_error for answer in reported]
    errors = [float(each.max()) for each in found if each is not None]
    assert len(errors) == len(reported) >= 4
    assert errors[-1] < errors[0] / 3
    assert reported[0].rows_used == 2 * 128 + 2
    for answer in reported:
        torch.testing.assert_close(answer.values[0].sum(1), gap(answer))


def test_a_budget_gives_the_best_answer_so_far() -> None:
    explicand = Explicand.of(numbers(1, 30), target=0)
    answer = explain(mlp(30), KernelShap(8000), explicand, max_rows=1000)
    assert answer.stop_reason is StopReason.BUDGET
    assert 0 < answer.rows_used <= 1000
    assert answer.standard_error is not None
    assert bool((answer.standard_error > 0).all())


def test_coalitions_of_a_mask_over_two_inputs_are_regressed_on() -> None:
    x, y, weight = numbers(2, 4), numbers(2, 3, seed=1), torch.ones(2)
    masks = (torch.tensor([[5, 5, 3, 3]]), torch.tensor([[3, 8, 8]]))
    explicand = Explicand.of(
        (x, y), target=0, feature_mask=masks, additional_forward_args=(weight,)
    )
    answer = explain(two_inputs(), KernelShap(), explicand)
    first, second = answer.values
    assert answer.rows_used == 2 * 8
    assert torch.equal(first[:, 2], second[:, 0])
    torch.testing.assert_close(first[:, 0] + first[:, 2] + second[:, 1], gap(answer))


def test_tokens_are_explained_at_their_embedding_as_at_their_ids() -> None:
    ids, mask = torch.tensor([[3, 1, 4], [1, 5, 9]]), torch.ones(2, 3, dtype=torch.int64)
    at_ids = Explicand.of(ids, target=1, baselines=10, additional_forward_args=(mask,))
    tokens = torch.arange(3)[None]
    at_layer = replace(at_ids, at=Site("embedding"), feature_mask=(tokens,))
    (embedded,) = explain(text_classifier(), KernelShap(), at_layer).values
    (direct,) = explain(text_classifier(), KernelShap(), at_ids).values
    torch.testing.assert_close(embedded, direct[:, :, None].expand(-1, -1, 6))


def test_the_most_features_are_explained_by_default() -> None:
    x = torch.rand(1, 1024, dtype=torch.float64)
    answer = explain(lambda x: x.sum(1), KernelShap(), Explicand.of(x), batch_rows=1024)
    torch.testing.assert_close(answer.values[0], x, rtol=1e-8, atol=1e-8)


def test_more_samples_than_memory_holds_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at most 65536 with 1024 features"):
        KernelShap(1_000_000).rows(Explicand.of(torch.zeros(1, 1024)))


def test_the_cost_of_the_plan_is_known_before() -> None:
    def cost(features: int, n_samples: int | None = None) -> float:
        return multiply_adds(KernelShap(n_samples), Explicand.of(torch.zeros(1, features)))

    assert cost(1024) > 4e9
    assert cost(1024, 40_000) > 10 * cost(1024)
    assert cost(10) < 1e7


def test_a_large_plan_pauses() -> None:
    execution = FlowRun(plan(1000, 6000, 0, "kernel"))
    execution.start()
    pauses = 0
    while execution.paused:
        execution.advance()
        pauses += 1
    assert pauses >= 3
    assert sum(step.pairs for step in execution.result) == 6000
